package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/geo"
	"github.com/countersign/countersign/internal/speech"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
	"github.com/countersign/countersign/internal/yamlconf"
)

// check notes all that is wrong. A key whose value could not be read was noted before.
func (c *Loaded) check(p *yamlconf.Problems) {
	p.Check("data", c.Data != "", "must not be empty")
	c.checkDatabase(p)
	c.checkKeyset(p)
	checkAddress(p, "public.listen", c.Public.Listen)
	checkPublicURL(p, c.Public.URL)
	c.checkClients(p)
	checkAddress(p, "operations.listen", c.Operations.Listen)
	c.checkConsole(p)
	p.Check("operations.listen", c.Operations.Listen != c.Public.Listen || strings.HasSuffix(c.Public.Listen, ":0"), "must not be that of public.listen")
	c.checkCertificate(p)
	checkSender(p, "public_sender", c.PublicSender)
	c.checkSenders(p)
	p.Check("max_segments", c.MaxSegments >= 1 && c.MaxSegments <= 10, "must be 1 to 10")
	if problem := speech.Problem(c.Locale); problem != "" {
		p.Check("locale", false, "%s", problem)
	}
	c.checkPlaces(p)
	checkDuration(p, "user_limits.interval", c.UserLimits.Interval, 0, time.Hour)
	checkDuration(p, "user_limits.period", c.UserLimits.Period, time.Duration(c.UserLimits.Interval), 24*time.Hour)
	p.Check("user_limits.max", c.UserLimits.Max >= 0 && c.UserLimits.Max <= 1000, "must be 0 to 1000")
	p.Check("project_limits.applications", c.ProjectLimits.Applications >= 1 && c.ProjectLimits.Applications <= 100000, "must be 1 to 100000")
	p.Check("project_limits.devices", c.ProjectLimits.Devices >= 1 && c.ProjectLimits.Devices <= 50, "must be 1 to 50")
	p.Check("project_limits.kept_answers", c.ProjectLimits.KeptAnswers >= 100 && c.ProjectLimits.KeptAnswers <= 1000000, "must be 100 to 1000000")
	p.Check("project_limits.templates", c.ProjectLimits.Templates >= 1 && c.ProjectLimits.Templates <= 100000, "must be 1 to 100000")
	for key, text := range c.Syniverse.refusals() {
		_, err := parseRefusal(*text)
		p.Check("syniverse."+key, err == nil, "must be a status from 400 to 499 and an error_code, such as 409 2001")
	}
	checkDuration(p, "retention", c.Retention, verify.MaxLife, 87600*time.Hour)
	p.Check("log.level", slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level), "must be debug, info, warn or error")
	p.Check("log.format", slices.Contains([]string{"json", "text"}, c.Log.Format), "must be json or text")
	p.Check("tracing.sample", c.Tracing.Sample >= 0 && c.Tracing.Sample <= 1, "must be 0 to 1")
	if e := c.Tracing.Endpoint; e != "" {
		u, err := url.Parse(e)
		p.Check("tracing.endpoint", err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https"), "must be an http or https URL")
	}
	names := map[string]bool{}
	for i := range c.Carriers {
		c.checkCarrier(p, fmt.Sprintf("carriers[%d]", i), &c.Carriers[i], names)
	}
	c.checkPrices(p, names)
	checkFailover(p, "failover.sms", c.Failover.SMS, "voice")
	checkFailover(p, "failover.voice", c.Failover.Voice, "sms")
	checkFailover(p, "failover.push", c.Failover.Push, "sms", "voice")
	p.Check("max_messages", c.MaxMessages >= 1 && c.MaxMessages <= 10, "must be 1 to 10")
	p.Check("break_after", c.BreakAfter >= 1 && c.BreakAfter <= 1000, "must be 1 to 1000")
	for i := range c.Routes {
		c.checkRoute(p, fmt.Sprintf("routes[%d]", i), &c.Routes[i], names)
	}
	for _, channel := range []struct {
		key      string
		carriers []string
	}{{"channels.sms", c.Channels.SMS}, {"channels.voice", c.Channels.Voice}, {"channels.push", c.Channels.Push}} {
		for i, name := range channel.carriers {
			at := fmt.Sprintf("%s[%d]", channel.key, i)
			p.Check(at, names[name], "there is no carrier %q", name)
			p.Check(at, c.serves(name, strings.TrimPrefix(channel.key, "channels.")), "%q isn't for this channel: SMPP is for sms, SIP for voice, webpush, fcm and apns for push, and a provider's preset or api says its own", name)
		}
	}
}

// maxConnections is more than a machine has files for.
const maxConnections = 1_000_000

// checkClients reads what bounds the listeners' clients.
func (c *Loaded) checkClients(p *yamlconf.Problems) {
	for key, n := range map[string]int{
		"public.max_connections": c.Public.MaxConnections, "public.max_per_address": c.Public.MaxPerAddress, "operations.max_connections": c.Operations.MaxConnections,
	} {
		p.Check(key, n >= 1 && n <= maxConnections, "must be 1 to %d", maxConnections)
	}
	c.Clients = web.Limits{Total: c.Public.MaxConnections, PerAddress: c.Public.MaxPerAddress, Header: c.Public.ClientHeader}
	for i, text := range c.Public.TrustedProxies {
		network, err := netip.ParsePrefix(text)
		p.Check(fmt.Sprintf("public.trusted_proxies[%d]", i), err == nil && network.Bits() > 0, "must be a network such as 192.0.2.0/24 or 2001:db8::/64, and not all addresses")
		c.Clients.Proxies = append(c.Clients.Proxies, network.Masked())
	}
	letters := strings.Trim(c.Public.ClientHeader, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-")
	p.Check("public.client_header", c.Public.ClientHeader != "" && letters == "", "must be the name of a header")
}

// checkDatabase finds the database, and doesn't connect to it.
func (c *Loaded) checkDatabase(p *yamlconf.Problems) {
	d := c.Database
	p.Check("database.writers", d.Writers >= 1 && d.Writers <= 64, "must be 1 to 64")
	p.Check("database.connections", d.Connections >= 1 && d.Connections <= 256, "must be 1 to 256")
	checkDuration(p, "database.timeout", d.Timeout, 100*time.Millisecond, 10*time.Second)
	password, err := c.password(d.Password)
	if err != nil {
		p.Check("database.password", false, "%v", err)
	}
	if len(d.Shards) > 0 {
		c.checkShards(p, password)
		return
	}
	if d.URL == "" {
		p.Check("database.password", d.Password == passwordConfig{}, "is given without a url")
		p.Check("database.schema", d.Schema == "", "is given without a url: only PostgreSQL has schemas")
		return
	}
	c.Postgres = d.postgres(d.URL, d.Schema, password)
	checkPostgres(p, "database", c.Postgres)
}

// postgres is a PostgreSQL with what holds for all of them.
func (d *databaseConfig) postgres(url, schema string, password verify.Secret) *store.Postgres {
	return &store.Postgres{
		URL: url, Schema: schema, Password: password, Writers: d.Writers, Conns: d.Connections,
		Timeout: time.Duration(d.Timeout), SynchronousStandby: d.SynchronousStandby,
	}
}

func checkPostgres(p *yamlconf.Problems, key string, pg *store.Postgres) {
	if err := pg.Check(); err != nil {
		p.Check(key+".url", false, "%v", err)
	}
	if err := pg.CheckSchema(); err != nil {
		p.Check(key+".schema", false, "%v", err)
	}
}

// maxShards bounds what one server connects to.
const maxShards = 64

var shardName = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)

// checkShards finds the shards. password is that of database.url.
func (c *Loaded) checkShards(p *yamlconf.Problems, password verify.Secret) {
	d := &c.Database
	p.Check("database.schema", d.Schema == "", "is given with shards: name it in one of them")
	p.Check("database.password", d.URL != "" || d.Password == passwordConfig{}, "is given without a url")
	p.Check("database.shards", len(d.Shards) <= maxShards, "must be at most %d", maxShards)
	p.Check("console.listen", c.Console.Listen == "", "shows one database: run a second server, whose database.url and database.schema are those of one shard, and give it the console")
	names, places := map[string]bool{}, map[[2]string]string{}
	for i, s := range d.Shards {
		key := fmt.Sprintf("database.shards[%d]", i)
		p.Check(key+".name", shardName.MatchString(s.Name), "must be 1 to 32 lower-case letters, digits, dashes and underscores")
		p.Check(key+".name", !names[s.Name], "another shard has this name")
		names[s.Name] = true
		pg := d.postgres(s.URL, s.Schema, "")
		if s.URL == "" {
			pg.URL, pg.Password = d.URL, password
			p.Check(key+".url", d.URL != "", "must be given, because there is no database.url")
			p.Check(key+".password", s.Password == passwordConfig{}, "is given without a url")
		} else {
			var err error
			if pg.Password, err = c.password(s.Password); err != nil {
				p.Check(key+".password", false, "%v", err)
			}
		}
		if pg.URL != "" {
			checkPostgres(p, key, pg)
		}
		place := [2]string{pg.URL, pg.Schema}
		if other, taken := places[place]; taken {
			p.Check(key+".schema", false, "must not be that of shard %s: each has its own", other)
		}
		places[place] = s.Name
		c.Shards = append(c.Shards, store.Shard{Name: s.Name, Postgres: pg})
	}
}

// checkKeyset loads the keys, or says how to make them.
func (c *Loaded) checkKeyset(p *yamlconf.Problems) {
	path := c.path(c.Keyset.File)
	if c.Keyset.Env == "" {
		c.mayChange("keyset", c.reloadKeys, path)
	}
	var err error
	c.Keys, err = c.loadKeys()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.Check("keyset.file", false, "there is none at %s; if this is a new installation, make one and keep a copy in a safe place: countersign keyset create %s", path, path)
	case err != nil:
		p.Check("keyset", false, "%v", err)
	}
}

// checkPlaces reads the database of places.
func (c *Loaded) checkPlaces(p *yamlconf.Problems) {
	if c.GeoIP == "" {
		return
	}
	var err error
	if c.places, err = geo.Open(c.path(c.GeoIP)); err != nil {
		p.Check("geoip", false, "%v", err)
	}
}

// checkCertificate loads the public listener's certificate.
func (c *Loaded) checkCertificate(p *yamlconf.Problems) {
	t := c.Public.TLS
	if c.checkACME(p) || t.Cert == "" && t.Key == "" {
		return
	}
	p.Check("public.tls.cert", t.Cert != "", "must be given together with key")
	p.Check("public.tls.key", t.Key != "", "must be given together with cert")
	checkFile(p, "public.tls.cert", c.path(t.Cert))
	checkFile(p, "public.tls.key", c.path(t.Key))
	cert := &certificate{certFile: c.path(t.Cert), keyFile: c.path(t.Key)}
	c.TLS = cert.config()
	c.mayChange("certificate", cert.load, cert.certFile, cert.keyFile)
	if err := cert.load(); err != nil && p.Fine("public.tls.cert", "public.tls.key") {
		p.Check("public.tls", false, "%v", err)
	}
}

func checkAddress(p *yamlconf.Problems, key, addr string) {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	p.Check(key, err == nil, "must be host:port, or :port for all addresses; a port is 0 to 65535")
}

// checkPublicURL accepts http for a proxy that speaks no TLS within a network.
func checkPublicURL(p *yamlconf.Problems, s string) {
	u, err := url.Parse(s)
	p.Check("public.url", s == "" || err == nil && u.Hostname() != "" && (u.Scheme == "https" || u.Scheme == "http") && u.User == nil && u.RawQuery == "" && u.Fragment == "",
		"must be an https URL, without credentials or a query")
}

func checkFile(p *yamlconf.Problems, key, path string) {
	f, err := os.Open(path)
	if err != nil {
		p.Check(key, false, "%v", err)
		return
	}
	f.Close()
}

func checkDuration(p *yamlconf.Problems, key string, d yamlconf.Duration, low, high time.Duration) {
	p.Check(key, time.Duration(d) >= low && time.Duration(d) <= high, "must be %v to %v", yamlconf.Duration(low), yamlconf.Duration(high))
}

// checkSender accepts what a project may send from, see [verify.ParseSender].
func checkSender(p *yamlconf.Problems, key, s string) {
	sender, err := verify.ParseSender(s)
	number := strings.HasPrefix(sender, "+")
	p.Check(key, err == nil && (number || sender == s), "must be an E.164 number, or 1 to 11 letters and digits")
}
