package jwks_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/architus/guildcast/token"
	"github.com/architus/guildcast/token/jwks"
)

// A verifier takes the keys of a token issuer from its key set.
func Example() {
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"2026","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`)
	}))
	defer issuer.Close()

	keys, err := jwks.New(issuer.URL, jwks.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	var running sync.WaitGroup
	running.Go(func() { _ = keys.Run(ctx) })
	defer running.Wait()
	defer cancel()

	if _, err := token.NewVerifier(token.VerifierOptions{Keys: keys}); err != nil {
		fmt.Println(err)
		return
	}
	found, err := keys.PublicKeys(ctx, "2026", "EdDSA") // as the verifier asks for a token that names this key
	fmt.Println(len(found), err)
	_, err = keys.PublicKeys(ctx, "2025", "EdDSA")
	fmt.Println(err)
	// Output:
	// 1 <nil>
	// the issuer has no such key
}
