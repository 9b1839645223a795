package v1

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/verify"
)

// Describer serves the API's description.
func Describer() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Description, func(w http.ResponseWriter, _ *http.Request) {
		body := described()
		w.Header().Set("Content-Type", "application/openapi+json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Write(body)
	})
	return shape.Exact(mux)
}

// described is the description, made when somebody first asks for it.
var described = sync.OnceValue(Describe)

// Describe returns the API's OpenAPI 3.1 description, as indented JSON.
func Describe() []byte {
	schemas := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	d := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title:       "Countersign",
			Version:     "1",
			Description: "Sends one-time codes by SMS and voice, and checks what people type.",
		},
		Components: &huma.Components{
			Schemas:         schemas,
			SecuritySchemes: map[string]*huma.SecurityScheme{"key": {Type: "http", Scheme: "bearer", Description: "An API key of a project."}},
		},
		Security: []map[string][]string{{"key": {}}},
	}
	register(d)
	body, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		panic(err) // our own types
	}
	return append(body, '\n')
}

// register adds the API's operations to a description, and the schemas of their types.
func register(d *huma.OpenAPI) {
	asked := map[string]bool{} // schemas of what callers send
	for _, o := range (&Server{}).operations() {
		d.AddOperation(o.describe(d.Components.Schemas))
		asked[o.in.Name()] = true
		for i := range o.in.NumField() {
			if t := o.in.Field(i).Type; isList(t) {
				asked[t.Elem().Name()] = true
			}
		}
	}
	var reasons []any
	for _, r := range verify.Reasons() {
		reasons = append(reasons, r.String())
	}
	all := d.Components.Schemas.Map()
	all["Verification"].Properties["reason"].Enum = reasons
	all["Delivery"].Properties["reason"].Enum = reasons
	all["Delivery"].Properties["receipt_reason"].Enum = reasons
	for name, s := range all {
		if !asked[name] {
			s.AdditionalProperties = nil // answers may have more one day
		}
	}
}

var wildcard = regexp.MustCompile(`\{(\w+)\}`)

func (o *operation) describe(schemas huma.Registry) *huma.Operation {
	d := &huma.Operation{
		OperationID: o.id(), Method: o.method, Path: o.path, Summary: o.summary, Description: o.text + " " + o.needed(),
		Security:  []map[string][]string{{"key": o.scopes().Words()}},
		Responses: map[string]*huma.Response{strconv.Itoa(o.status): {Description: http.StatusText(o.status)}},
	}
	if o.out != reflect.TypeFor[none]() {
		d.Responses[strconv.Itoa(o.status)].Content = map[string]*huma.MediaType{"application/json": {Schema: schemas.Schema(o.out, true, "")}}
	}
	for _, name := range wildcard.FindAllStringSubmatch(o.path, -1) {
		schema := &huma.Schema{Type: "string"}
		if name[1] == "id" {
			schema.Format = "uuid"
		}
		d.Parameters = append(d.Parameters, &huma.Param{Name: name[1], In: "path", Required: true, Schema: schema})
	}
	if o.method == http.MethodPost {
		shortest, longest := 1, maxKey
		d.Parameters = append(d.Parameters, &huma.Param{
			Name: KeyHeader, In: "header", Example: "5f3a7c1e-order-1029",
			Description: "A key of your own for this request, so that it is carried out once, however often you send it in 24 hours. Another request needs another key.",
			Schema:      &huma.Schema{Type: "string", MinLength: &shortest, MaxLength: &longest, Pattern: "^[!-~]+$"},
		})
	}
	for _, status := range o.problems() {
		d.Responses[strconv.Itoa(status)] = &huma.Response{
			Description: http.StatusText(status),
			Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: schemas.Schema(reflect.TypeFor[api.Problem](), true, "")}},
		}
	}
	switch {
	case o.fromQuery:
		in := huma.SchemaFromType(schemas, o.in)
		for i := range o.in.NumField() {
			name, _, _ := strings.Cut(o.in.Field(i).Tag.Get("json"), ",")
			s := in.Properties[name]
			d.Parameters = append(d.Parameters, &huma.Param{Name: name, In: "query", Required: slices.Contains(in.Required, name), Description: s.Description, Schema: s})
		}
	case o.in.NumField() > 0:
		d.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: schemas.Schema(o.in, true, "")}}}
	}
	return d
}

// needed says in a sentence what a key needs.
func (o *operation) needed() string {
	return "Needs the scope `" + strings.Join(o.scopes().Words(), "`, `") + "`."
}

// id is the operation's name for generated clients: "startVerification" for "Start a verification".
func (o *operation) id() string {
	words := strings.Fields(strings.ToLower(o.summary))
	name := words[0]
	for _, w := range words[1:] {
		if w != "a" && w != "an" {
			name += strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return name
}

func (o *operation) hasBody() bool {
	return o.method == http.MethodPost || o.method == http.MethodPut || o.method == http.MethodPatch
}

// problems are the statuses of an operation's refusals, beside 404 and 405 for what isn't served.
func (o *operation) problems() []int {
	all := []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable}
	if strings.Contains(o.path, "{") || o.path == "/v1/checks" || o.path == "/v1/applications" && o.hasBody() { // which may name a template
		all = append(all, http.StatusNotFound)
	}
	if o.method != http.MethodGet {
		all = append(all, http.StatusConflict)
	}
	if o.needs == verify.ScopeStart && !strings.HasSuffix(o.path, "/cancel") { // its message must be paid
		all = append(all, http.StatusPaymentRequired)
	}
	if o.path == "/v1/applications/{id}" || o.path == "/v1/templates/{id}" {
		all = append(all, http.StatusPreconditionFailed)
	}
	if strings.Contains(o.path, "{user}") {
		all = append(all, http.StatusUnprocessableEntity)
	}
	if o.fromQuery || o.hasBody() {
		all = append(all, http.StatusBadRequest, http.StatusUnprocessableEntity)
	}
	if o.hasBody() {
		all = append(all, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	return all
}
