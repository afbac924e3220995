package schemas_test

import (
	"encoding/json"
	"fmt"

	"github.com/architus/guildcast/schemas"
)

// Any JSON Schema library takes the files: each needs no other.
func Example() {
	data, err := schemas.Files.ReadFile("json/events/spectate_return.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	var schema struct {
		ID string `json:"$id"`
	}
	if err := json.Unmarshal(data, &schema); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(schema.ID)
	// Output: urn:guildcast:events:spectate_return
}
