package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/architus/guildcast/internal/js"
)

// ParseSecrets parses one secret, or several separated by commas. Secrets that have a name or hold a comma are written
// as a JSON object {"<kid>": "<secret>", ...} or a JSON array. ParseSecrets ignores white space around a secret outside
// of JSON, since files end with some.
func ParseSecrets(text string) ([]Secret, error) {
	text = strings.TrimSpace(strings.TrimPrefix(text, "\ufeff")) // some editors begin a file with a byte order mark
	var secrets []Secret
	var list []string
	switch {
	case strings.HasPrefix(text, "{"):
		err := js.Each([]byte(text), func(kid string, value json.RawMessage) error {
			var key string
			if json.Unmarshal(value, &key) != nil {
				return errors.New("a token secret is not a string")
			}
			secrets = append(secrets, Secret{KeyID: kid, Key: []byte(key)})
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read token secrets as a JSON object: %w", err)
		}
	case strings.HasPrefix(text, "["):
		if json.Unmarshal([]byte(text), &list) != nil {
			return nil, errors.New("read token secrets: not a JSON array of strings")
		}
	case text != "":
		for secret := range strings.SplitSeq(text, ",") {
			list = append(list, strings.TrimSpace(secret))
		}
	}
	for _, secret := range list {
		secrets = append(secrets, Secret{Key: []byte(secret)})
	}
	for _, secret := range secrets {
		if len(secret.Key) == 0 {
			return nil, errors.New("a token secret is empty")
		}
	}
	return secrets, nil
}
