package schemas_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/permissions"
	"github.com/architus/guildcast/schemas"
)

// enum returns the values of an enum that a schema defines.
func enum(t *testing.T, file, name string) []string {
	t.Helper()
	data, err := schemas.Files.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Defs map[string]struct{ Enum []string } `json:"$defs"`
	}
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	if len(schema.Defs[name].Enum) == 0 {
		t.Fatalf("%s has no enum %s", file, name)
	}
	return slices.Sorted(slices.Values(schema.Defs[name].Enum))
}

func same(t *testing.T, name string, got, want []string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", name, got, want)
	}
}

// What the code calls things is what the schemas call them.
func TestEnums(t *testing.T) {
	same(t, "types", enum(t, "json/events/pool_response.json", "EntityType"), []string{
		botwire.TypeMember, botwire.TypeChannel, botwire.TypeRole, botwire.TypeAutoResponse, botwire.TypeSettingValue,
		botwire.TypeUser, botwire.TypeGuild, botwire.TypeCustomEmoji,
	})
	same(t, "kinds", enum(t, "json/redis/guild_event.json", "EventKind"), []string{
		event.KindGuild, event.KindChannel, event.KindRole, event.KindEmoji, event.KindMember, event.KindUser,
		event.KindAutoResponse, event.KindSetting, event.KindMessage, event.KindReaction, event.KindInvite,
		event.KindWebhook, event.KindIntegration, event.KindInteraction, event.KindModeration, event.KindAdministrator,
		event.KindInternal,
	})
	for _, name := range enum(t, "json/redis/guild_event.json", "PermissionName") {
		if _, ok := permissions.BitNamed(name); !ok {
			t.Errorf("there is no permission %s", name)
		}
	}
}

// The page of the protocol lists the words that nodes say; a test of botwire compares it with the code.
func TestWords(t *testing.T) {
	page, err := os.ReadFile("../docs/reference/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	var words, reasons []string
	for _, row := range regexp.MustCompile("(?m)^\\| \\d{3} \\| (`.*?) \\|").FindAllSubmatch(page, -1) {
		for _, word := range regexp.MustCompile("`(.*?)`").FindAllSubmatch(row[1], -1) {
			if word := string(word[1]); !slices.Contains(words, word) {
				words = append(words, word)
			}
		}
	}
	same(t, "words", enum(t, "json/events/error.json", "ErrorWord"), words)
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+_lost|[a-z_]*overflow)` \\|").FindAllSubmatch(page, -1) {
		reasons = append(reasons, string(row[1]))
	}
	same(t, "reasons", enum(t, "json/events/resync.json", "ResyncReason"), reasons)
}
