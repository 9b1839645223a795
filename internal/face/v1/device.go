package v1

import (
	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/verify"
)

func (s *Server) registerDevice(c face.Call, in api.NewDevice) (api.Device, error) {
	id, err := application(c)
	if err != nil {
		return api.Device{}, err
	}
	answers(c, func(_ face.Call, d *verify.Device) api.Device { return wireDevice(*d) })
	d, err := s.Service.RegisterDevice(c.Context(), c.Account, id, c.PathValue("user"), verify.NewDevice{
		Kind: verify.DeviceKind(in.Kind), Endpoint: in.Endpoint, P256dh: in.P256dh, Auth: in.Auth, Token: in.Token, App: in.App, Key: in.Key, Name: in.Name, Locale: in.Locale,
	})
	if err != nil {
		return api.Device{}, err
	}
	return wireDevice(d), nil
}

func (s *Server) invite(c face.Call, _ none) (api.Enrolment, error) {
	id, err := application(c)
	if err != nil {
		return api.Enrolment{}, err
	}
	code, expires, err := s.Service.Invite(c.Context(), c.Account, id, c.PathValue("user"))
	if err != nil {
		return api.Enrolment{}, err
	}
	return api.Enrolment{Code: code.Reveal(), URL: s.Service.EnrolmentURL(code), ExpiresAt: expires.UTC()}, nil
}

func (s *Server) listDevices(c face.Call, _ none) (api.Devices, error) {
	id, err := application(c)
	if err != nil {
		return api.Devices{}, err
	}
	all, err := s.Service.Devices(c.Context(), c.Account, id, c.PathValue("user"))
	if err != nil {
		return api.Devices{}, err
	}
	out := api.Devices{Devices: make([]api.Device, len(all))}
	for i, d := range all {
		out.Devices[i] = wireDevice(d)
	}
	return out, nil
}

func (s *Server) removeDevice(c face.Call, _ none) (none, error) {
	id, err := application(c)
	if err != nil {
		return none{}, err
	}
	device, err := verify.ParseID(c.PathValue("device"))
	if err != nil { // nothing has such an id; but a user who isn't there is answered first, as for any other id
		device = verify.ID{}
	}
	return none{}, s.Service.RemoveDevice(c.Context(), c.Account, id, c.PathValue("user"), device)
}

func wireDevice(d verify.Device) api.Device {
	return api.Device{
		ID: d.ID.String(), Kind: string(d.Kind), Name: d.Name, Locale: d.Locale, CreatedAt: d.ID.Time().UTC(), LastUsedAt: when(d.UsedAt),
	}
}
