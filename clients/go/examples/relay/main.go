// Relays the progress of pulls to a service's own users: GET /pull?image=redis:7 answers with server-sent
// events. A user who leaves cancels that pull; others that pull the same are not hurt.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"

	imgd "imgd.dev/go"
	imgdv1 "imgd.dev/go/imgd/v1"

	"google.golang.org/protobuf/encoding/protojson"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "where users call")
	flag.Parse()
	client, err := imgd.New()
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	http.Handle("GET /pull", relay(client))
	log.Fatal(http.ListenAndServe(*listen, nil))
}

func relay(client *imgd.Client) http.HandlerFunc {
	return func(answer http.ResponseWriter, request *http.Request) {
		// The request's context ends when the user leaves, and with it the pull.
		pull, err := client.Pull(request.Context(), request.FormValue("image"), nil)
		if err != nil {
			http.Error(answer, err.Error(), http.StatusBadGateway)
			return
		}
		defer pull.Close()
		answer.Header().Set("Content-Type", "text/event-stream")
		for event, err := range pull.Events() {
			if err != nil {
				fmt.Fprintf(answer, "event: lost\ndata: %q\n\n", err)
				return
			}
			fmt.Fprintf(answer, "id: %d\ndata: %s\n\n", event.GetSequence(), line(event))
			if err := http.NewResponseController(answer).Flush(); err != nil {
				return
			}
		}
	}
}

// line is an event as JSON without line breaks, which would end a server-sent event's field.
func line(event *imgdv1.TransferEvent) []byte {
	encoded, err := protojson.Marshal(event)
	if err != nil {
		panic(err) // What came over the wire can be said again.
	}
	return encoded
}
