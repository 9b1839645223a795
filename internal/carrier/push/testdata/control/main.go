// Command control pushes to stand-ins for FCM and APNs with others' clients: Google's own, and sideshow's for Apple's. So
// tests know that the stand-ins demand no more than the services do. It also reads what our carrier sends to FCM into
// Google's types, which know all fields that there are.
//
//	control fcm URL CA ACCOUNT TOKEN...      prints the status of each push
//	control apns URL CA KEY TEAM TOPIC TOKEN...
//	control decode < BODY
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/sideshow/apns2"
	"github.com/sideshow/apns2/token"
	"golang.org/x/net/http2"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"google.golang.org/api/fcm/v1"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
)

func main() {
	log.SetFlags(0)
	args := os.Args[1:]
	switch args[0] {
	case "fcm":
		byFCM(args[1], args[2], args[3], args[4:])
	case "apns":
		byAPNS(args[1], args[2], args[3], args[4], args[5], args[6:])
	case "decode":
		decode()
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

func trusting(file string) *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(must(os.ReadFile(file)))
	return &tls.Config{RootCAs: roots}
}

func byFCM(url, ca, account string, tokens []string) {
	base := &http.Client{Transport: &http.Transport{TLSClientConfig: trusting(ca)}}
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, base)
	c := must(google.JWTConfigFromJSON(must(os.ReadFile(account)), fcm.FirebaseMessagingScope))
	service := must(fcm.NewService(ctx, option.WithHTTPClient(c.Client(ctx)), option.WithEndpoint(url)))
	for _, to := range tokens {
		_, err := service.Projects.Messages.Send("projects/shop-1", &fcm.SendMessageRequest{Message: &fcm.Message{
			Token: to, Data: map[string]string{"kind": "code"}, Android: &fcm.AndroidConfig{Priority: "HIGH", Ttl: "300s", CollapseKey: "0123456789abcdef0123456789abcdef"},
		}}).Do()
		var refused *googleapi.Error
		switch {
		case err == nil:
			fmt.Println(200)
		case errors.As(err, &refused):
			fmt.Println(refused.Code)
		default:
			log.Fatal(err)
		}
	}
}

func byAPNS(url, ca, key, team, topic string, tokens []string) {
	c := apns2.NewTokenClient(&token.Token{AuthKey: must(token.AuthKeyFromFile(key)), KeyID: "ABC123DEFG", TeamID: team})
	c.Host = url
	c.HTTPClient.Transport = &http2.Transport{TLSClientConfig: trusting(ca)}
	for _, to := range tokens {
		resp := must(c.Push(&apns2.Notification{
			DeviceToken: to, Topic: topic, Priority: apns2.PriorityHigh, PushType: apns2.PushTypeAlert, CollapseID: "0123456789abcdef0123456789abcdef",
			Expiration: time.Now().Add(5 * time.Minute), Payload: []byte(`{"aps":{"alert":{"title":"Your code"},"mutable-content":1}}`),
		}))
		fmt.Println(resp.StatusCode, resp.Reason)
	}
}

func decode() {
	d := json.NewDecoder(os.Stdin)
	d.DisallowUnknownFields()
	var request fcm.SendMessageRequest
	if err := d.Decode(&request); err != nil {
		log.Fatal(err)
	}
	fmt.Println("decoded")
}
