package sip

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	// deadFor is how long an address of the trunk that didn't answer comes after the others.
	deadFor = time.Minute
	// maxTargets is how many addresses of the trunk one call or registration tries.
	maxTargets = 3
)

var errLookUp = errors.New("the trunk's name can't be looked up")

// resolve returns the trunk's addresses in the order in which to try them (RFC 3263 §4, without NAPTR, because
// the transport is configured). If the host has no port, SRV records say the order, by priority and weight.
// Addresses that were dead a short time ago come last.
func (c *Carrier) resolve(ctx context.Context) ([]netip.AddrPort, error) {
	host, port := split(c.Trunk)
	if a, err := netip.ParseAddr(host); err == nil {
		c.trust(a)
		return []netip.AddrPort{netip.AddrPortFrom(a.Unmap(), c.portOr(port))}, nil
	}
	var all []netip.AddrPort
	for _, s := range c.services(ctx, host, port) {
		found, err := c.Resolver.LookupNetIP(ctx, c.family(), s.Target)
		if err != nil {
			continue // the resolver's error would name its servers
		}
		for _, a := range found {
			c.trust(a)
			if at := netip.AddrPortFrom(a.Unmap(), c.portOr(int(s.Port))); !slices.Contains(all, at) {
				all = append(all, at)
			}
		}
	}
	if len(all) == 0 {
		return nil, errLookUp
	}
	return c.livingFirst(all), nil
}

// services returns the hosts and ports of the trunk, in order.
func (c *Carrier) services(ctx context.Context, host string, port int) []*net.SRV {
	if port == 0 {
		service, proto := "sip", string(c.Transport)
		if c.Transport == TLS {
			service, proto = "sips", "tcp"
		}
		if _, found, err := c.Resolver.LookupSRV(ctx, service, proto, host); err == nil && len(found) > 0 {
			for _, s := range found {
				s.Target = strings.TrimSuffix(s.Target, ".")
			}
			return found
		}
	}
	return []*net.SRV{{Target: host, Port: uint16(port)}}
}

// family returns the addresses that our sockets can reach.
func (c *Carrier) family() string {
	if c.ports.ip.Is6() {
		return "ip"
	}
	return "ip4"
}

func (c *Carrier) portOr(port int) uint16 { return uint16(cmp.Or(port, c.Transport.standardPort())) }

// livingFirst moves dead addresses to the end, the one that died first before the others.
func (c *Carrier) livingFirst(all []netip.AddrPort) []netip.AddrPort {
	c.mu.Lock()
	defer c.mu.Unlock()
	for at, died := range c.dead {
		if time.Since(died) >= deadFor {
			delete(c.dead, at)
		}
	}
	slices.SortStableFunc(all, func(a, b netip.AddrPort) int { return c.dead[a].Compare(c.dead[b]) })
	return all
}

// bury remembers that an address didn't answer.
func (c *Carrier) bury(at netip.AddrPort) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead[at] = time.Now()
}

// revive forgets that an address didn't answer.
func (c *Carrier) revive(at netip.AddrPort) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.dead, at)
}
