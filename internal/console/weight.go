package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/route"
	"github.com/countersign/countersign/internal/verify"
)

// weightOf is the prefix of the names of fields with carriers' weights.
const weightOf = "weight-"

// weighed is what the page of a route's weights shows: how often each carrier comes first now, and then.
type weighed struct {
	Country, Project string
	Channel          string
	Channels         []choice
	Route            string // "": no route takes such messages
	Carriers         []weighedCarrier
	Preview          bool // other weights than those that hold
	Changed          bool // weights hold in place of the configuration's
	Note, Problem    string
	Back             string
}

type weighedCarrier struct {
	Name                  string
	Configured, Now, Then int
	Before, After         string // how often it comes first
}

// Field is the name of the field with the carrier's weight.
func (c weighedCarrier) Field() string { return weightOf + c.Name }

var errNoCountry = errors.New("that is no country in two letters, such as US, and no channel such as sms")

// weighedNow reads which route a request is about, by country, channel and project, and its weights.
func (d desk) weighedNow(r *http.Request) (p weighed, err error) {
	p = weighed{Country: r.FormValue("country"), Channel: r.FormValue("channel"), Project: r.FormValue("project"), Back: "/traffic"}
	if p.Channel == "" {
		p.Channel = string(verify.ChannelSMS)
	}
	e := verify.Envelope{Project: verify.ProjectID(p.Project), To: phone.Example(p.Country)}
	for _, c := range []verify.Channel{verify.ChannelSMS, verify.ChannelVoice} {
		p.Channels = append(p.Channels, choice{string(c), string(c), string(c) == p.Channel})
		if string(c) == p.Channel {
			e.Channel = c
		}
	}
	if e.To == "" || e.Channel == "" {
		return p, errNoCountry
	}
	weights, err := d.books.Weights(r.Context())
	if err != nil {
		return p, err
	}
	configured := d.server.Dispatch.Rules()
	i := slices.IndexFunc(configured, func(x route.Rule) bool { return x.Matches(&e) })
	if i < 0 {
		return p, nil
	}
	holds := route.Weigh(configured, weights)[i].Carriers
	p.Route = configured[i].Name()
	for j, c := range configured[i].Carriers {
		p.Carriers = append(p.Carriers, weighedCarrier{Name: c.Carrier, Configured: c.Weight, Now: holds[j].Weight, Then: holds[j].Weight})
	}
	p.Changed = slices.ContainsFunc(weights, func(w verify.Weight) bool { return w.Route == p.Route })
	return p, nil
}

// read takes the weights of a form, and says what they would change.
func (p *weighed) read(form url.Values) {
	for i := range p.Carriers {
		c := &p.Carriers[i]
		if text := form.Get(c.Field()); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil {
				p.Problem = "Weights must be whole numbers from 0 to 1000."
				return
			}
			c.Then = n
			p.Preview = p.Preview || c.Then != c.Now
		}
	}
	p.explain()
}

// explain says how often each carrier comes first, before and after.
func (p *weighed) explain() {
	now, then := 0, 0
	for _, c := range p.Carriers {
		now, then = now+c.Now, then+c.Then
	}
	for i := range p.Carriers {
		c := &p.Carriers[i]
		c.Before, c.After = turns(c.Now, now), turns(c.Then, then)
	}
}

func turns(weight, sum int) string {
	if weight == 0 {
		return "keeps its place"
	}
	return fmt.Sprintf("first in %d of %d", weight, sum)
}

// askWeights shows the weights of the route to a country, and what others would do:
// GET /weights?country=LK&channel=sms&weight-gateway=9.
func (d desk) askWeights(w http.ResponseWriter, r *http.Request, _ Person) error {
	p, err := d.weighedNow(r)
	if err != nil {
		return err
	}
	p.read(r.URL.Query())
	d.showWeights(w, r, http.StatusOK, p)
	return nil
}

func (d desk) showWeights(w http.ResponseWriter, r *http.Request, status int, p weighed) {
	d.show(w, r, status, weightsPage, "Weights", p)
}

// setWeights changes them on all servers, as countersign route weight does; with reset, the configuration's hold again.
func (d desk) setWeights(w http.ResponseWriter, r *http.Request, who Person) error {
	p, err := d.weighedNow(r)
	if err != nil {
		return err
	}
	p.Note = r.PostFormValue("note")
	p.read(r.PostForm)
	weights := map[string]int{}
	for _, c := range p.Carriers {
		weights[c.Name] = c.Then
	}
	switch {
	case p.Problem != "":
	case r.PostFormValue("reset") != "":
		if err = d.books.ResetWeights(r.Context(), who.actor(), p.Route); errors.Is(err, verify.ErrNotWeighed) {
			err = nil
		}
	case p.Preview:
		err = d.books.SetWeights(r.Context(), who.actor(), p.Route, weights, p.Note)
	}
	var known *verify.Error
	if errors.As(err, &known) && known.Kind == verify.KindInvalid && len(known.Problems) > 0 {
		p.Problem = "The " + string(known.Problems[0].Field) + " " + known.Problems[0].Message + "."
		err = nil
	}
	if err != nil {
		return err
	}
	if p.Problem != "" {
		d.showWeights(w, r, http.StatusUnprocessableEntity, p)
		return nil
	}
	http.Redirect(w, r, "/weights?"+url.Values{"country": {p.Country}, "channel": {p.Channel}, "project": {p.Project}}.Encode(), http.StatusSeeOther)
	return nil
}
