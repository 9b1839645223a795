package verify

import (
	"bytes"
	"context"
	"errors"
	"slices"
)

// What the memory of a service's tests keeps beside verifications: see [memory].
type directory struct {
	applications map[ID]Application
	users        map[UserKey]User
	templates    []MessageTemplate
	unique       bool // what was asked of the latest application
	most         int  // and how many there may be of it, or of the latest template
}

func (m *memory) CreateApplication(ctx context.Context, a Application, unique bool, most int) error {
	unlock, err := m.enter(ctx)
	defer unlock()
	if err == nil {
		m.applications[a.ID], m.unique, m.most = a, unique, most
	}
	return err
}

func (m *memory) Application(ctx context.Context, p ProjectID, id ID) (Application, error) {
	unlock, err := m.enter(ctx)
	defer unlock()
	if a, ok := m.applications[id]; ok && a.Project == p {
		return a, err
	}
	return Application{}, ErrNoApplication
}

func (m *memory) UpdateApplication(ctx context.Context, a Application, unique bool) error {
	unlock, err := m.enter(ctx)
	defer unlock()
	if m.applications[a.ID].Version != a.Version-1 {
		return ErrStale
	}
	if err == nil {
		m.applications[a.ID], m.unique = a, unique
	}
	return err
}

func (m *memory) DeleteApplication(ctx context.Context, p ProjectID, id ID, _ int) error {
	unlock, err := m.enter(ctx)
	defer unlock()
	if err == nil {
		delete(m.applications, id)
	}
	return err
}

func (m *memory) CreateTemplate(ctx context.Context, t MessageTemplate, most int) error {
	unlock, err := m.enter(ctx)
	defer unlock()
	m.templates, m.most = append(m.templates, t), most
	return err
}

func (m *memory) FindTemplate(ctx context.Context, p ProjectID, id ID, name string) (MessageTemplate, error) {
	unlock, err := m.enter(ctx)
	defer unlock()
	for _, t := range m.templates {
		if t.Project == p && (t.ID == id || t.Name == name) {
			return t, err
		}
	}
	return MessageTemplate{}, ErrNoTemplate
}

func (m *memory) User(ctx context.Context, k UserKey) (User, error) {
	unlock, err := m.enter(ctx)
	defer unlock()
	u, ok := m.users[k]
	if !ok {
		return u, ErrNoUser
	}
	return u, err
}

func (m *memory) StartUser(ctx context.Context, v *Verification, r UserStart) error {
	unlock, err := m.enter(ctx)
	defer unlock()
	if err != nil {
		return err
	}
	k := UserKey{v.Project, v.Application, v.User}
	u, ok := m.users[k]
	if !ok && !r.Associate {
		return ErrNoUser
	}
	key, d := m.destination(v.Project, v.To)
	if err := u.Begin(v, &d, r, m.now()); err != nil {
		return err
	}
	m.verifications[v.ID], m.destinations[key], m.users[k] = *v, d, u
	return nil
}

func (m *memory) CheckUser(ctx context.Context, k UserKey, g Guess) (Outcome, error) {
	unlock, err := m.enter(ctx)
	defer unlock()
	u, ok := m.users[k]
	v, live := m.verifications[u.Current]
	switch {
	case err != nil:
		return Outcome{}, err
	case !ok:
		return Outcome{}, ErrNoUser
	case !live:
		return Outcome{}, ErrNoCode
	}
	key, d := m.destination(v.Project, v.To)
	out, err := u.Check(&v, &d, g, m.now())
	out.Verification = v.ID
	if err == nil {
		m.verifications[v.ID], m.destinations[key], m.users[k] = v, d, u
	}
	return out, err
}

func (m *memory) Lookup(ctx context.Context, p ProjectID, id ID) (*Verification, []Delivery, error) {
	unlock, err := m.enter(ctx)
	defer unlock()
	v, gone := m.owned(p, id)
	if err = errors.Join(err, gone); err != nil {
		return nil, nil, err
	}
	return &v, []Delivery{{Verification: id, Attempt: 1}}, nil
}

func (m *memory) Resend(ctx context.Context, r Resending) (*Verification, error) {
	unlock, err := m.enter(ctx)
	defer unlock()
	v, gone := m.owned(r.Verification.Project, r.Verification.ID)
	if err = errors.Join(err, gone); err != nil {
		return nil, err
	}
	key, d := m.destination(v.Project, v.To)
	if err := r.Resend(&v, &User{}, &d, m.now()); err != nil {
		return nil, err
	}
	m.verifications[v.ID], m.destinations[key] = v, d
	return &v, nil
}

func (m *memory) List(ctx context.Context, l Listing) (page []Verification, next ID, err error) {
	unlock, err := m.enter(ctx)
	defer unlock()
	for _, v := range m.verifications {
		if l.Passes(&v) {
			page = append(page, v)
		}
	}
	slices.SortFunc(page, func(a, b Verification) int { return bytes.Compare(b.ID[:], a.ID[:]) })
	return page, l.Before, err
}

func (m *memory) CheckLatest(ctx context.Context, k LatestKey, g Guess) (Outcome, error) {
	unlock, err := m.enter(ctx)
	defer unlock()
	if err != nil {
		return Outcome{}, err
	}
	var v Verification
	for _, other := range m.verifications {
		if k.Names(&other) && bytes.Compare(other.ID[:], v.ID[:]) > 0 {
			v = other
		}
	}
	if v.ID.IsZero() {
		return Outcome{}, ErrNotFound
	}
	key, d := m.destination(v.Project, v.To)
	out, err := v.Check(&d, g, m.now())
	out.Verification = v.ID
	if err == nil {
		m.verifications[v.ID], m.destinations[key] = v, d
	}
	return out, err
}

func (m *memory) addTemplate(t MessageTemplate) { m.templates = append(slices.Clone(m.templates), t) }

func (m *memory) CreateText(ctx context.Context, t TextTemplate, most int) error {
	unlock, err := m.enter(ctx)
	defer unlock()
	m.most = most
	return err
}

func (*memory) Usage(context.Context, UsageQuery) ([]UsageRow, error) { return nil, nil }
