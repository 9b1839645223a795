package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/carrier/push"
	"github.com/countersign/countersign/internal/carrier/sim"
	"github.com/countersign/countersign/internal/carrier/webpush"
	"github.com/countersign/countersign/internal/verify"
)

// A devScreen shows what is pushed to a device in the simulator, as a phone would. A browser that a developer registered
// gets the push as well, where its push service can be reached.
type devScreen struct {
	*webpush.Service // nil for apps
	simulator        *sim.Simulator
	log              *slog.Logger
}

// Push implements [push.Service].
func (s *devScreen) Push(ctx context.Context, m *verify.Message, d *verify.Receiver) error {
	s.simulator.Show(*m)
	if s.Service == nil {
		return nil
	}
	err := s.Service.Push(ctx, m, d)
	if err != nil && !errors.Is(err, push.ErrGone) {
		s.log.InfoContext(ctx, "the push is in the simulator only: the browser's push service didn't take it", "err", err)
		return nil
	}
	return err
}

// pushes makes dev's carrier of pushes. Its key stays in the folder, so that browsers stay registered.
func (c *devCommand) pushes(simulator *sim.Simulator, log *slog.Logger) (*push.Carrier, error) {
	path := filepath.Join(c.Data, "vapid.pem")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if text, err = webpush.NewKey(); err == nil {
			err = os.MkdirAll(c.Data, 0o700) // with --database, nothing else has made it
		}
		if err == nil {
			err = os.WriteFile(path, text, 0o600)
		}
	}
	if err != nil {
		return nil, err
	}
	key, err := webpush.ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	web, err := webpush.New(webpush.Config{Key: key, Contact: "mailto:dev@example.com", Timeout: 5 * time.Second, Conns: devConcurrency})
	if err != nil {
		return nil, err
	}
	browser, app := &devScreen{web, simulator, log}, &devScreen{nil, simulator, log}
	return push.New("push", map[verify.DeviceKind]push.Service{
		verify.DeviceWebPush: browser, verify.DeviceUnifiedPush: browser, verify.DeviceFCM: app, verify.DeviceAPNS: app,
	}), nil
}

// The application and the user whose device the developer's browser is.
const (
	devShop   = "Your browser"
	devUser   = "developer"
	devNumber = "+12025550110"
)

// home finds the developer's application, or makes it.
func (d devDesk) home(ctx context.Context, acct *verify.Account) (verify.ID, error) {
	all, err := d.system.Verify.Applications(ctx, acct)
	if err != nil {
		return verify.ID{}, err
	}
	if i := slices.IndexFunc(all, func(a verify.Application) bool { return a.Name == devShop }); i >= 0 {
		return all[i].ID, nil
	}
	app, err := d.system.Verify.CreateApplication(ctx, acct, verify.Application{Name: devShop, Channels: []verify.Channel{verify.ChannelPush, verify.ChannelSMS}})
	if err != nil {
		return verify.ID{}, err
	}
	_, err = d.system.Verify.ImportUsers(ctx, acct, app.ID, []verify.ImportedUser{{Name: devUser, Address: devNumber}})
	return app.ID, err
}

// Invite implements [console.Desk].
func (d devDesk) Invite(ctx context.Context) (verify.Secret, error) {
	acct, err := d.system.Accounts.Authenticate(ctx, d.project, d.token)
	if err != nil {
		return "", err
	}
	app, err := d.home(ctx, acct)
	if err != nil {
		return "", err
	}
	code, _, err := d.system.Verify.Invite(ctx, acct, app, devUser)
	return code, err
}

// Ask implements [console.Desk].
func (d devDesk) Ask(ctx context.Context, from verify.Client) (verify.ID, error) {
	acct, err := d.system.Accounts.Authenticate(ctx, d.project, d.token)
	if err != nil {
		return verify.ID{}, err
	}
	app, err := d.home(ctx, acct)
	if err != nil {
		return verify.ID{}, err
	}
	if err := d.system.Verify.ForgivePrompts(ctx, acct, app, devUser); err != nil {
		return verify.ID{}, err
	}
	v, err := d.system.Verify.StartFor(ctx, acct, app, devUser, verify.UserStartRequest{Prompt: true, Purpose: verify.PurposeVerify, Details: verify.Details{Client: from}})
	if err != nil {
		return verify.ID{}, err
	}
	return v.ID, nil
}
