package v1

import (
	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/face"
)

// A destination is whom the caller wants to reach.
type destination struct {
	To string `json:"to" example:"+12025550123" doc:"The number, in E.164."`
}

func (s *Server) listChannels(c face.Call, in destination) (api.Channels, error) {
	to, all, err := s.Service.Reaches(c.Account, in.To)
	if err != nil {
		return api.Channels{}, err
	}
	w := api.Channels{To: string(to), Country: to.Region(), Channels: []api.Channel{}}
	for _, r := range all {
		one := api.Channel{Channel: string(r.Channel), State: api.Available}
		switch {
		case !r.Served:
			one.State = api.Unserved
		case !r.OpensAt.IsZero():
			one.State, one.RetryAt = api.Down, when(r.OpensAt)
		}
		w.Channels = append(w.Channels, one)
	}
	return w, nil
}
