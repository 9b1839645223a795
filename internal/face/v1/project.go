package v1

import (
	"time"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/face"
)

func (s *Server) readProject(c face.Call, _ none) (api.Project, error) {
	p := &c.Account.Project
	b := p.Profile.Bounds()
	w := api.Project{
		ID: string(p.ID), Name: p.Name, Policy: string(p.Profile),
		MinCodeLength: b.MinLength, MaxCodeLength: b.MaxLength, MaxValidFor: int(b.MaxLife / time.Second), MaxMaxAttempts: b.MaxAttempts,
		SendBurst: p.Limits.Burst, SendInterval: int(p.Limits.Interval / time.Second), SendDaily: p.Limits.Daily,
		AnyCountry: p.AnyCountry(), Countries: []string{}, Kinds: []string{}, OnlyNumbers: []string{},
		Senders: append([]string{}, p.Senders...), AnySender: p.AnySender, LinkHosts: append([]string{}, p.LinkHosts...), AnyLink: p.AnyLink, Trial: p.Trial(), OwnText: p.PublicText,
	}
	if !w.AnyCountry {
		w.Countries = append(w.Countries, p.Countries...)
	}
	for _, n := range p.OnlyNumbers {
		w.OnlyNumbers = append(w.OnlyNumbers, string(n))
	}
	for _, kind := range p.Kinds {
		w.Kinds = append(w.Kinds, string(kind))
	}
	return w, nil
}
