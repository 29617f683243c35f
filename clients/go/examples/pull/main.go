// Pulls an image, shows what happens meanwhile, and lists what is there.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"

	imgd "imgd.dev/go"
)

func main() {
	// Ctrl-C cancels the pull. What was fetched stays for a while: the next one goes on there.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, reference string) error {
	client, err := imgd.New()
	if err != nil {
		return err
	}
	defer client.Close()

	pull, err := client.Pull(ctx, reference, nil)
	if err != nil {
		return err
	}
	defer pull.Close()
	for event, err := range pull.Events() {
		if err != nil {
			return err
		}
		for _, node := range event.GetUpdate().GetNodes() {
			fmt.Println(node.GetNodeId(), node.GetState())
		}
	}
	transfer, err := pull.Wait()
	var failure *imgd.Error
	if errors.As(err, &failure) {
		return fmt.Errorf("%s: %s", failure.Reason, failure.Message)
	}
	fmt.Println("pulled", transfer.GetOutcome().GetTarget().GetDigest())

	for image, err := range client.Images(ctx) {
		if err != nil {
			return err
		}
		fmt.Println(image.GetTags(), image.GetImageId(), image.GetSize())
	}
	return nil
}
