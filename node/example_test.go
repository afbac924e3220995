package node_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/architus/guildcast/node"
	"github.com/architus/guildcast/token"
)

// A node serves until its context ends.
func Example() {
	listening := make(chan node.Info, 1)
	n, err := node.New(node.Config{
		Addr:       "127.0.0.1:0",
		JWTSecrets: []token.Secret{{Key: []byte("a secret of 32 bytes, or of more")}},
		Listening:  func(i node.Info) { listening <- i },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	var running sync.WaitGroup
	running.Go(func() {
		if err := n.Run(ctx); err != nil {
			fmt.Println(err)
		}
	})
	defer running.Wait()
	defer cancel()

	select {
	case i := <-listening:
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := client.Get(i.URL + "/healthz")
		if err != nil {
			fmt.Println(err)
			return
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		fmt.Print(response.Status, " ", string(body))
		if err != nil {
			fmt.Println(err)
		}
	case <-ctx.Done():
		fmt.Println(ctx.Err())
	}
	// Output:
	// 200 OK ok
}
