package main

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	imgd "imgd.dev/go"
	imgdv1 "imgd.dev/go/imgd/v1"
	"imgd.dev/go/internal/scripted"
)

func serve(t *testing.T, daemon *scripted.Daemon) string {
	t.Helper()
	client, err := imgd.New(imgd.WithAddress(daemon.Address))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(relay(client))
	t.Cleanup(func() {
		server.Close()
		_ = client.Close()
	})
	return server.URL + "/pull?image=redis:7"
}

func get(t *testing.T, ctx context.Context, url string) *bufio.Scanner {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	if kind := answer.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Fatal(kind)
	}
	return bufio.NewScanner(answer.Body)
}

func TestItRelaysEveryEvent(t *testing.T) {
	daemon := scripted.Start(t, scripted.Snapshot(1),
		scripted.Finished(2, imgdv1.TransferState_TRANSFER_STATE_SUCCEEDED))
	lines := get(t, context.Background(), serve(t, daemon))
	var said []string
	for lines.Scan() {
		said = append(said, lines.Text())
	}
	text := strings.Join(said, "\n")
	if strings.Count(text, "data: {") != 2 || !strings.Contains(text, "TRANSFER_STATE_SUCCEEDED") {
		t.Error(text)
	}
}

func TestAUserWhoLeavesCancels(t *testing.T) {
	daemon := scripted.Start(t, scripted.Snapshot(1))
	ctx, leave := context.WithCancel(context.Background())
	get(t, ctx, serve(t, daemon)).Scan()
	leave()
	scripted.Get(t, daemon.Cancelled)
}
