package main

import (
	"context"
	"strings"
	"testing"

	imgdv1 "imgd.dev/go/imgd/v1"
	"imgd.dev/go/internal/scripted"
)

func TestItPulls(t *testing.T) {
	daemon := scripted.Start(t, scripted.Snapshot(1),
		scripted.Finished(2, imgdv1.TransferState_TRANSFER_STATE_SUCCEEDED))
	t.Setenv("IMGD_ADDRESS", daemon.Address)
	if err := run(context.Background(), "redis:7"); err != nil {
		t.Fatal(err)
	}
	if reference := daemon.Requests()[0].GetSource().GetRegistry().GetReference(); reference != "redis:7" {
		t.Errorf("it asked for %s", reference)
	}
}

func TestItSaysWhatFailed(t *testing.T) {
	daemon := scripted.Start(t, scripted.Finished(1, imgdv1.TransferState_TRANSFER_STATE_FAILED))
	t.Setenv("IMGD_ADDRESS", daemon.Address)
	if err := run(context.Background(), "redis:7"); err == nil || !strings.Contains(err.Error(), "FAILED") {
		t.Fatal(err)
	}
}
