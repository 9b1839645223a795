package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/countersign/countersign/api"
)

type verifyCommand struct {
	remote
	Number  string `arg:"" help:"Number to verify, in E.164: +12025550123."`
	Channel string `enum:"sms,voice" default:"sms" help:"How the code is sent: sms or voice."`
	Purpose string `default:"verify" help:"What the code is for, in a word."`
	JSON    bool   `name:"json" help:"Print each answer of the server as a line of JSON."`
}

// Help explains more than a line can.
func (verifyCommand) Help() string {
	return `Sends a code, shows how its delivery goes on, asks for what the person got, and checks it. The API key comes from the variable COUNTERSIGN_TOKEN:

  export COUNTERSIGN_TOKEN=cs_...
  countersign verify +12025550123
  countersign verify --channel voice --purpose login +12025550123

When the code may be sent again, it says so: r and Enter does that.

Without a terminal, it reads one code a line from standard input.
It exits with 0 if the code is right, and with 1 if it isn't, or if anything fails.`
}

// Run implements the command.
func (c *verifyCommand) Run(w world) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	started, err := client.Start(w.ctx, api.NewVerification{To: c.Number, Channel: c.Channel, Purpose: c.Purpose})
	if err != nil {
		return c.explain(err)
	}
	c.say(w, started, "Verification %s of %s by %s; its code can be used until %s.", started.ID, started.To, started.Channel, started.ExpiresAt.Local().Format(time.TimeOnly))
	return c.ask(w, client, started)
}

// lookEvery is how often the delivery is looked at while nothing is typed.
const lookEvery = 500 * time.Millisecond

// ask checks lines until the verification ends, and tells each change of the delivery meanwhile.
func (c *verifyCommand) ask(w world, client *api.Client, v api.Verification) error {
	lines := c.lines(w)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	offer := time.After(untilResend(v))
	c.prompt(w)
	for {
		select {
		case <-w.ctx.Done():
			return errors.New("interrupted; the code can still be checked")
		case <-look.C:
			seen, err := client.Verification(w.ctx, v.ID)
			if err != nil {
				continue // a check will say what is wrong
			}
			if seen.Delivery != v.Delivery {
				c.say(w, seen, "%s", delivered(seen))
				c.prompt(w)
			}
			if v = seen; v.Delivery == "delivered" || v.Delivery == "failed" {
				look.Stop()
			}
		case <-offer:
			if !c.JSON {
				io.WriteString(w.stdout, "(nothing arrived? r and Enter sends the code again)\n")
				c.prompt(w)
			}
		case line, more := <-lines:
			if !more {
				return errors.New("no code was right")
			}
			if line == resendKey {
				if v = c.resend(w, client, v); v.Delivery == "sending" {
					look.Reset(lookEvery)
				}
				offer = time.After(untilResend(v))
				c.prompt(w)
				continue
			}
			r, err := client.Check(w.ctx, v.ID, line)
			switch {
			case err != nil:
				return c.explain(err)
			case r.Valid:
				c.say(w, r, "Right: the number is verified.")
				return nil
			case r.Status != api.Pending:
				c.say(w, r, "Wrong.")
				return fmt.Errorf("the verification is %s", r.Status)
			}
			c.say(w, r, "Wrong. %d more can be tried.", r.AttemptsRemaining)
			c.prompt(w)
		}
	}
}

// resendKey asks for the code again. No code is so short.
const resendKey = "r"

// resend sends the code again, or says why not. It returns the verification as it then is.
func (c *verifyCommand) resend(w world, client *api.Client, v api.Verification) api.Verification {
	patient := *client
	patient.MaxWait = -1 // a person waits for an answer
	again, err := patient.Resend(w.ctx, v.ID, "")
	if err != nil {
		c.say(w, map[string]string{"error": err.Error()}, "(not sent again: %v)", c.explain(err))
		return v
	}
	c.say(w, again, "(sent again)")
	return again
}

// untilResend is the time until the server allows a resend. If it allows none, the time is almost endless.
func untilResend(v api.Verification) time.Duration {
	if v.ResendAfter == nil {
		return 1 << 62
	}
	return time.Until(*v.ResendAfter)
}

// lines reads what is typed, but for empty lines. A read can't be interrupted, so it has a goroutine of its own.
func (c *verifyCommand) lines(w world) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(w.stdin); in.Scan(); {
			line := strings.TrimSpace(in.Text())
			if line == "" {
				continue
			}
			select {
			case lines <- line:
			case <-w.ctx.Done():
				return
			}
		}
	}()
	return lines
}

func (c *verifyCommand) prompt(w world) {
	if !c.JSON {
		io.WriteString(w.stdout, "Code: ")
	}
}

// delivered is where the message is, in words.
func delivered(v api.Verification) string {
	text := "the message is " + v.Delivery
	if n := len(v.Deliveries); n > 0 {
		text += " by " + v.Deliveries[n-1].Carrier
	}
	if v.Reason != "" {
		text += ": " + v.Reason
	}
	return "(" + text + ")"
}

// say prints a line, or what it is about as JSON.
func (c *verifyCommand) say(w world, about any, format string, args ...any) {
	if c.JSON {
		json.NewEncoder(w.stdout).Encode(about)
		return
	}
	io.WriteString(w.stdout, fmt.Sprintf(format, args...)+"\n")
}
