package system

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/carrier/sim"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// On a disk that takes a second for each commit, and under starts without end, the sweeper keeps up: a dead server's
// message is found and sent. A start waits for a few commits: the one under way, one of the sweeper's, its own.
func TestTheSweeperKeepsUpOnASlowDisk(t *testing.T) {
	t.Parallel()
	testsize.Full(t, "takes half a minute")
	var slow atomic.Bool
	var commits atomic.Int64
	messages := sim.New(time.Now)
	keys, err := keyset.LoadOrCreate(filepath.Join(t.TempDir(), KeysetFile))
	if err != nil {
		t.Fatal(err)
	}
	const lease = 4 * time.Second
	s, err := Open(t.Context(), Config{
		Data: t.TempDir(), Keys: keys, Log: slog.New(slog.DiscardHandler), Lease: lease, Settings: verify.Settings{PublicSender: "+12025550199"},
		Carriers: []dispatch.Line{{Carrier: messages, Queue: 1000, Concurrency: 16}}, Routes: map[verify.Channel][]string{verify.ChannelSMS: {messages.Name()}},
		Commit: func(_ int, commit func() error) error {
			if slow.Load() {
				time.Sleep(time.Second)
			}
			defer commits.Add(1)
			return commit()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	messages.OnReceipt(s.Dispatch.Receive)
	defer func() {
		slow.Store(false)
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
		messages.Close()
	}()
	token := account.NewSecret()
	if err := s.Store.CreateProject(t.Context(), verify.Project{ID: "p", Name: "P", Profile: verify.ProfileCompat}); err != nil {
		t.Fatal(err)
	}
	if err := s.Store.CreateKey(t.Context(), account.Key{ID: verify.NewID(time.Now()), Project: "p", Hash: account.HashKey(token)}); err != nil {
		t.Fatal(err)
	}
	acct, err := s.Accounts.Authenticate(t.Context(), "p", token)
	if err != nil {
		t.Fatal(err)
	}
	lost := phone.Number("+12025550100")
	v := &verify.Verification{
		ID: verify.NewID(time.Now()), Project: "p", Application: acct.Application.ID, Purpose: verify.PurposeMFA,
		Terms: verify.Terms{Channel: verify.ChannelSMS, To: lost, Text: "Code {code}", Format: "numeric", Length: 6, MaxAttempts: 3, ExpiresAt: time.Now().Add(time.Hour)},
		Code:  verify.Code{KeyID: keys.Primary(), CodeMAC: []byte{1}},
	}
	if v.SealedCode, err = keys.Seal(v.KeyID, v.Binding(), "493817"); err != nil {
		t.Fatal(err)
	}
	if err := s.Store.Start(t.Context(), v, verify.Limits{}, lease); err != nil {
		t.Fatal(err)
	}
	slow.Store(true)
	found := make(chan struct{})
	var started, longest atomic.Int64
	var all sync.WaitGroup
	for client := range 16 {
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-found:
					return
				default:
				}
				before := commits.Load()
				_, err := s.Verify.Start(t.Context(), acct, verify.StartRequest{Channel: verify.ChannelSMS, To: fmt.Sprintf("+1202%03d%04d", 600+client, i)})
				if err != nil {
					t.Errorf("a start beside the sweeper: %v", err)
					return
				}
				started.Add(1)
				for took := commits.Load() - before; ; {
					if most := longest.Load(); took <= most || longest.CompareAndSwap(most, took) {
						break
					}
				}
			}
		})
	}
	for end := time.Now().Add(2 * time.Minute); len(messages.Messages(lost)) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			_, behind := s.Dispatch.Lags()
			t.Errorf("the message of a dead server isn't found, the last sweep was %v ago", behind)
			break
		}
	}
	close(found)
	all.Wait()
	_, behind := s.Dispatch.Lags()
	t.Logf("%d starts, which waited for %d commits at most; the last sweep was %v ago", started.Load(), longest.Load(), behind)
	if longest.Load() > 6 {
		t.Errorf("a start waited for %d commits", longest.Load())
	}
}
