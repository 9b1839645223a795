package v1

import (
	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/face"
)

func (s *Server) listSenders(c face.Call, _ none) (api.Senders, error) {
	p := &c.Account.Project
	w := api.Senders{Senders: []api.Sender{}, Any: p.AnySender}
	for _, sender := range s.Service.Senders(c.Account) {
		one := api.Sender{Sender: sender.From, Kind: api.Number, Channels: []string{api.SMS, api.Voice}, Public: sender.Public, OwnText: !sender.Public || p.PublicText}
		if sender.IsName() {
			one.Kind, one.Channels = api.Name, []string{api.SMS}
		}
		w.Senders = append(w.Senders, one)
	}
	return w, nil
}
