package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/verify"
)

// operatorFile is where a server says, in its data folder, how its own user reaches it.
const operatorFile = "operator.json"

// operations is what it says.
type operations struct {
	Address string `json:"address"` // of the operations listener
	Token   string `json:"token"`
}

// publishOperator writes the file, for its owner only, with a new token.
func publishOperator(data string, addr net.Addr) (token verify.Secret, remove func(), err error) {
	token = account.NewSecret()
	text, err := json.Marshal(operations{reachable(addr), token.Reveal()})
	if err != nil {
		return "", nil, err
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return "", nil, err
	}
	path := filepath.Join(data, operatorFile)
	temp, err := os.CreateTemp(data, operatorFile) // 0600
	if err != nil {
		return "", nil, err
	}
	_, err = temp.Write(text)
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		os.Remove(temp.Name())
		return "", nil, err
	}
	return token, func() {
		if now, err := os.ReadFile(path); err == nil && bytes.Equal(now, text) { // not one of a server that came after us
			os.Remove(path)
		}
	}, nil
}

// reachable is an address at which this machine reaches a listener.
func reachable(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if ok && tcp.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", fmt.Sprint(tcp.Port))
	}
	return addr.String()
}

func readOperator(data string) (o operations, err error) {
	text, err := keyset.ReadPrivate(filepath.Join(data, operatorFile))
	if errors.Is(err, fs.ErrNotExist) {
		return o, fmt.Errorf("no server runs on %s: this asks a running one", data)
	}
	if err != nil {
		return o, err
	}
	return o, json.Unmarshal(text, &o)
}

// ask asks the server for the body of its answer. An answer that isn't 200 is an error.
func (o operations) ask(ctx context.Context, method, path string, body []byte) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+o.Address+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+o.Token)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy: it would see the token
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the server doesn't answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return nil, fmt.Errorf("the server answers %s: %s", resp.Status, strings.TrimSpace(string(text)))
	}
	return resp.Body, nil
}

type carrierCommand struct {
	Test carrierTest `cmd:"" help:"Send a test message, without a code, and follow it to its receipt. It costs what a message costs."`

	Drain  carrierDrain  `cmd:"" help:"Give a carrier no more messages, within a second."`
	Resume carrierResume `cmd:"" help:"Give a carrier messages again."`
}

type carrierTest struct {
	database
	Carrier string        `arg:"" help:"Carrier's name, as the configuration has it."`
	Number  string        `arg:"" help:"Number, E.164."`
	Channel string        `default:"" enum:"sms,voice," help:"sms or voice (default: what the carrier is for, or else sms)." placeholder:"CHANNEL"`
	Wait    time.Duration `default:"1m" help:"How long to wait for the receipt, 0s to 10m (default ${default})." placeholder:"DURATION"`
}

// Run implements the command. It fails unless the phone got the message. Without waiting, and where no receipt can
// come, it is enough that the carrier took it.
func (c *carrierTest) Run(w world) error {
	to, err := phone.Parse(c.Number)
	if err != nil {
		return usageError(fmt.Sprintf("number: %v", err))
	}
	folder, _, err := c.findAll()
	if err != nil {
		return err
	}
	o, err := readOperator(folder)
	if err != nil {
		return err
	}
	last, err := c.follow(w.ctx, o, to, func(l system.TrialLine) error { return c.print(w, l) })
	if err != nil {
		return err
	}
	return c.verdict(last)
}

// verdict says what became of a message by its last step.
func (c *carrierTest) verdict(last system.TrialLine) error {
	switch {
	case last.What == verify.ReceiptDelivered.String(), last.What == verify.AttemptAccepted.String() && (c.Wait == 0 || last.Final):
		return nil
	case last.What == verify.AttemptAccepted.String():
		return fmt.Errorf("no receipt came within %v: does this carrier send receipts, and do they reach this server?", c.Wait)
	case last.What == verify.AttemptUnknown.String():
		return fmt.Errorf("nobody knows whether the message was sent: the carrier's answer got lost, and no receipt came within %v", c.Wait)
	}
	why := fmt.Sprintf("the message was not delivered: %s %s", last.What, last.Reason)
	if last.Code != "" {
		why += ", the carrier's code " + last.Code
	}
	return errors.New(why)
}

// follow asks the server, and reports each line of its answer.
func (c *carrierTest) follow(ctx context.Context, o operations, to phone.Number, report func(system.TrialLine) error) (last system.TrialLine, err error) {
	body, err := json.Marshal(system.Trial{To: string(to), Channel: verify.Channel(c.Channel), Wait: c.Wait})
	if err != nil {
		return last, err
	}
	answer, err := o.ask(ctx, http.MethodPost, "/carriers/"+url.PathEscape(c.Carrier)+"/test", body)
	if err != nil {
		return last, err
	}
	defer answer.Close()
	lines := bufio.NewScanner(answer)
	for lines.Scan() {
		last = system.TrialLine{}
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			return last, err
		}
		if last.Error != "" {
			return last, errors.New(last.Error)
		}
		if err := report(last); err != nil {
			return last, err
		}
	}
	return last, lines.Err()
}

func (c *carrierTest) print(w world, l system.TrialLine) error {
	if c.JSON {
		return printJSON(w, l)
	}
	text := fmt.Sprintf("%7.1fs  %s", l.After.Seconds(), l.What)
	for _, part := range [...]struct{ name, value string }{{"from", l.From}, {"ref", l.Ref}, {"reason", l.Reason.String()}, {"code", l.Code}, {"error", l.Detail}, {"hint", l.Hint}} {
		if part.value != "" {
			text += "  " + part.name + " " + part.value
		}
	}
	_, err := fmt.Fprintln(w.stdout, text)
	return err
}
