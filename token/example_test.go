package token_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/architus/guildcast/token"
)

// An issuer signs a token; a node that shares the secret verifies it.
func Example() {
	shared := token.Secret{KeyID: "2026", Key: []byte("a secret of 32 bytes, or of more")}
	signed, err := token.Sign(shared, map[string]any{
		"sub": "214037134477230080", "exp": time.Now().Add(time.Hour).Unix(),
		"guilds": map[string]uint64{"607637793107345431": 4},
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	verifier, err := token.NewVerifier(token.VerifierOptions{Secrets: []token.Secret{shared}})
	if err != nil {
		fmt.Println(err)
		return
	}
	claims, err := verifier.Verify(context.Background(), signed)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(claims.Subject)
	fmt.Println(claims.In("607637793107345431"))

	_, err = verifier.Verify(context.Background(), signed+"A")
	var refused *token.Error
	if errors.As(err, &refused) {
		fmt.Println(refused.Code(), refused.Word)
	}
	// Output:
	// 214037134477230080
	// VIEW_PUBLIC_LOGS|VIEW_PRIVATE_LOGS|ADD_AUTO_RESPONSE|VIEW_SETTINGS true
	// 401 token_invalid
}
