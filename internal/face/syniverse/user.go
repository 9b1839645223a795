package syniverse

import (
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/request"
	"github.com/countersign/countersign/internal/verify"
)

// A user is Syniverse's User.
type user struct {
	ID              string `json:"id"`
	UserAddress     string `json:"user_address,omitempty"` // as the client wrote it
	Status          string `json:"status"`
	CreatedDate     any    `json:"created_date"`
	LastUpdatedDate any    `json:"last_updated_date"`
	VersionNumber   int    `json:"version_number"`
}

func (s *Server) wireUser(u verify.User) user {
	return user{
		ID: u.Name, UserAddress: u.Address, Status: statusNames[u.Status],
		CreatedDate: s.date(u.CreatedAt), LastUpdatedDate: s.date(u.UpdatedAt), VersionNumber: u.Version,
	}
}

// statusNames are Syniverse's names; one has a space.
var statusNames = map[verify.UserStatus]string{
	verify.UserInitial:   "INITIAL",
	verify.UserPending:   "VALIDATION PENDING",
	verify.UserValidated: "VALIDATED",
}

// asStatus parses a status, in any case and also with _ for the space.
func asStatus(s string) (verify.UserStatus, error) {
	for status, name := range statusNames {
		if strings.EqualFold(strings.ReplaceAll(s, "_", " "), name) {
			return status, nil
		}
	}
	return 0, errors.New("must be INITIAL, VALIDATION PENDING or VALIDATED")
}

// userFilters are exactly the published filters.
var userFilters = []string{"id", "status", "created_date", "last_updated_date"}

var userOrders = map[string]verify.UserOrder{
	"id": verify.OrderByName, "user_address": verify.OrderByAddress, "status": verify.OrderByStatus,
	"created_date": verify.OrderByCreation, "last_updated_date": verify.OrderByUpdate, "version_number": verify.OrderByVersion,
}

// userFilter parses the filters of a query.
func userFilter(q query) (verify.UserFilter, error) {
	var bad request.Fields
	date := func(name string) (t time.Time) {
		if value := q.filters.Get(name); value != "" {
			ms, err := asDate(value)
			if err != nil {
				bad.Wrong(name, err.Error())
			}
			t = time.UnixMilli(max(ms, 0)) // nothing was created before 1970, and the zero time wouldn't filter
		}
		return t
	}
	f := verify.UserFilter{Name: q.filters.Get("id"), CreatedAt: date("created_date"), UpdatedAt: date("last_updated_date")}
	if value := q.filters.Get("status"); value != "" {
		var err error
		if f.Status, err = asStatus(value); err != nil {
			bad.Wrong("status", err.Error())
		}
	}
	if bad.Problems != nil {
		return f, invalidFrom(bad, nil)
	}
	return f, nil
}

func (s *Server) users(c face.Call, app verify.ID) (any, error) {
	q, err := parse(c.URL.RawQuery, userFilters, slices.Sorted(maps.Keys(userOrders)))
	if err != nil {
		return nil, err
	}
	f, err := userFilter(q)
	if err != nil {
		return nil, err
	}
	p := verify.Page{Order: userOrders[q.sort], Descending: q.descending, Offset: q.offset, Limit: q.limit}
	entries, total, err := s.Service.Users(c.Context(), c.Account, app, f, p)
	if err != nil {
		return nil, err
	}
	return listOf(entries, q, total, s.wireUser), nil
}

// userName returns the user's id in a call's path. It may contain a slash, written as %2F. The service
// refuses such an id, because a proxy may have read the slash as the end of the id.
func userName(c face.Call) string { return c.PathValue("user") }

func (s *Server) user(c face.Call, app verify.ID) (any, error) {
	u, err := s.Service.User(c.Context(), c.Account, app, userName(c))
	if err != nil {
		return nil, err
	}
	return s.wireUser(u), nil
}

func (s *Server) deleteUser(c face.Call, app verify.ID) (any, error) {
	return nil, s.Service.DeleteUser(c.Context(), c.Account, app, userName(c))
}

func (s *Server) associate(c face.Call, app verify.ID) (any, error) {
	r := verify.AssociateRequest{Address: c.In.Text("address"), DisplayName: c.In.Text("display_name"), Channel: method(&c.In)}
	device, isDevice := deviceOf(&c.In, r.Address)
	if c.In.Problems != nil {
		return nil, invalidFrom(c.In, nil)
	}
	if isDevice {
		return nil, s.Service.AssociateDevice(c.Context(), c.Account, app, userName(c), device, r.DisplayName)
	}
	return nil, s.Service.Associate(c.Context(), c.Account, app, userName(c), r)
}

func (s *Server) dissociate(c face.Call, app verify.ID) (any, error) {
	return nil, s.Service.Dissociate(c.Context(), c.Account, app, userName(c))
}

func (s *Server) loginStart(c face.Call, app verify.ID) (any, error) {
	r := verify.LoginRequest{DisplayName: c.In.Text("display_name"), Channel: method(&c.In)}
	if c.In.Problems != nil {
		return nil, invalidFrom(c.In, nil)
	}
	return nil, s.Service.LoginStart(c.Context(), c.Account, app, userName(c), r)
}

func (s *Server) validate(c face.Call, app verify.ID) (any, error) {
	code, number := validationCode(&c.In)
	if c.In.Problems != nil {
		return nil, invalidFrom(c.In, nil)
	}
	out, err := s.Service.Validate(c.Context(), c.Account, app, userName(c), code, number)
	if err == nil && !out.Approved {
		err = errWrong
	}
	return nil, err
}

// pushServices are the names of push services in addresses.
var pushServices = map[string]verify.DeviceKind{"FCM": verify.DeviceFCM, "APN": verify.DeviceAPNS}

// deviceOf reads the address of a device, in one of two forms: push:TOKEN@APP@SERVICE, and psh:SERVICE@SENDER@TOKEN. The
// sender id is how the server's configuration calls the app.
func deviceOf(in *request.Fields, address string) (n verify.NewDevice, ok bool) {
	kind, rest, _ := strings.Cut(strings.TrimSpace(address), ":")
	var service string
	switch parts := strings.Split(rest, "@"); {
	case strings.EqualFold(kind, "push") && len(parts) == 3:
		n.Token, n.App, service = parts[0], parts[1], parts[2]
	case strings.EqualFold(kind, "psh") && len(parts) == 3:
		service, n.App, n.Token = parts[0], parts[1], parts[2]
	case !strings.EqualFold(kind, "push") && !strings.EqualFold(kind, "psh"):
		return n, false
	}
	if n.Kind, ok = pushServices[strings.ToUpper(service)]; !ok {
		in.Wrong("address", "must be push:TOKEN@APP@SERVICE or psh:SERVICE@SENDER@TOKEN for a device, where SERVICE is FCM or APN")
	}
	return n, true
}

// methodFields are the fields that may hold the channel to the user. The first one with a value
// counts. The published operation has such a field, but its name isn't published.
var methodFields = []string{"validation_method", "auth_token_delivery_method", "delivery_method"}

// method returns the channel to the user, or "" if the request leaves it open. The service refuses
// unknown channels.
func method(in *request.Fields) verify.Channel {
	for _, name := range methodFields {
		if c := channel(in.Text(name)); c != "" {
			return c
		}
	}
	return ""
}

// wholeNumber matches a code that a program sent as a JSON number.
var wholeNumber = regexp.MustCompile(`^[0-9]+$`)

// validationCode returns the code in a request, and reports whether it was a JSON number, which has
// lost its leading zeros.
func validationCode(in *request.Fields) (code verify.Secret, number bool) {
	raw := in.Raw("validation_code")
	var text string
	switch {
	case wholeNumber.Match(raw):
		return verify.Secret(raw), true
	case raw == nil:
		in.Wrong("validation_code", "can't be blank")
	case json.Unmarshal(raw, &text) != nil:
		in.Wrong("validation_code", "must be a string or a whole number")
	case text == "":
		in.Wrong("validation_code", "can't be blank")
	}
	return verify.Secret(text), false
}
