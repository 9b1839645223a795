package smpp

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// addrs are the addresses that were dialed since it was last asked.
func (k *kit) addrs() []string {
	synctest.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	all := k.dialed
	k.dialed = nil
	return all
}

// An SMSC with several addresses keeps a bind at each. A bind whose address is dead goes to the next one at once, and
// messages don't wait.
func TestASecondAddressTakesOver(t *testing.T) {
	story(t, func(c *Config) { c.Others, c.Binds, c.Enquire, c.Inactivity = []string{"b:1", "c:1"}, 2, -1, time.Hour }, func(k *kit) {
		first, second := k.bound(), k.bound()
		got := k.addrs()
		if slices.Sort(got); !slices.Equal(got, []string{"b:1", "smsc.example:2775"}) {
			k.Fatalf("dialed %v, want one bind at each of two addresses", got)
		}
		time.Sleep(time.Minute) // both are steady
		for _, p := range []*peer{first, second} {
			p.conn.Close()
			at := k.accept()
			at.answer(at.read(bindTransceiver), 0x0D, "") // as a node in maintenance
			at.conn.Close()
			begun := time.Now()
			next := k.bound()
			if took := time.Since(begun); took != 0 {
				k.Errorf("bound at the next address after %v", took)
			}
			if got := k.addrs(); len(got) != 2 || got[0] == got[1] {
				k.Errorf("dialed %v, want two addresses", got)
			}
			time.Sleep(time.Minute)
			defer next.conn.Close()
		}
	})
}

// Where no address lets a bind in, all were asked once, then comes the wait, and the next round begins at the next one.
func TestAllAddressesAreAskedBeforeTheWait(t *testing.T) {
	story(t, func(c *Config) { c.Others = []string{"b:1"} }, func(k *kit) {
		refuse := func() {
			p := k.accept()
			p.answer(p.read(bindTransceiver), 0x0D, "")
			p.conn.Close()
		}
		begun := time.Now()
		refuse()
		refuse()
		if took := time.Since(begun); took != 0 {
			k.Errorf("the second address was asked after %v", took)
		}
		k.want(k.sending(k.sms()), "", verify.AttemptErrored, verify.ReasonMisconfigured)
		refuse()
		if took := time.Since(begun); took < firstWait/2 {
			k.Errorf("the second round began after %v", took)
		}
		refuse()
		if got, want := k.addrs(), []string{"smsc.example:2775", "b:1", "b:1", "smsc.example:2775"}; !slices.Equal(got[:min(4, len(got))], want) {
			k.Errorf("dialed %v, want %v", got, want)
		}
	})
}

// A node that accepts a bind and drops it, as one behind a proxy that is up while the node isn't, doesn't keep the bind from
// the other addresses.
func TestAnAddressThatDropsBindsIsLeft(t *testing.T) {
	story(t, func(c *Config) { c.Others, c.Enquire, c.Inactivity = []string{"b:1"}, -1, time.Hour }, func(k *kit) {
		k.bound().conn.Close()
		second := k.bound()
		time.Sleep(time.Minute)
		second.conn.Close() // it was steady: the address may be tried again
		k.bound()
		if got, want := k.addrs(), []string{"smsc.example:2775", "b:1", "b:1"}; !slices.Equal(got, want) {
			k.Errorf("dialed %v, want %v", got, want)
		}
	})
}

func TestOtherAddressesAreChecked(t *testing.T) {
	t.Parallel()
	for want, others := range map[string][]string{
		"others[0]": {"smsc.example"}, "others[1]": {"b:1", "b:1"}, "others": {"1:1", "2:1", "3:1", "4:1", "5:1", "6:1", "7:1", "8:1"},
	} {
		if all := (Config{Addr: "smsc.example:2775", SystemID: "us", Others: others}).Check(); len(all) != 1 || all[0].Field != want {
			t.Errorf("%v: got %v, want %s", others, all, want)
		}
	}
	if all := (Config{Addr: "a:1", SystemID: "us", Others: []string{"a:1"}}).Check(); fmt.Sprint(all) != "[others[0]: must be host:port, and another one than those before it]" {
		t.Errorf("got %v", all)
	}
}
