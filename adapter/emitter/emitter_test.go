package emitter

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/architus/guildcast/internal/test/redistest"
)

// TestLinksNoServer shows that a program that only sends links go-redis and msgp, with what these need, and no server.
func TestLinksNoServer(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if .Module}}{{.Module.Path}}{{end}}", ".").Output()
	if err != nil {
		t.Skipf("no go command: %v", err)
	}
	allowed := map[string]bool{
		"github.com/architus/guildcast": true,
		"github.com/redis/go-redis/v9":  true, "github.com/cespare/xxhash/v2": true, "go.uber.org/atomic": true,
		"github.com/tinylib/msgp": true, "github.com/philhofer/fwd": true, "golang.org/x/sys": true,
	}
	for _, module := range strings.Fields(string(out)) {
		if !allowed[module] {
			t.Errorf("%s is linked", module)
		}
	}
	out, err = exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range strings.Fields(string(out)) {
		if p == "github.com/architus/guildcast/engine" || p == "github.com/architus/guildcast/adapter" {
			t.Errorf("%s is linked", p)
		}
	}
}

// TestEmitterIsImmutable shows that what is chained does not change what it was chained to.
func TestEmitterIsImmutable(t *testing.T) {
	_, client := redistest.Mini(t)
	e := New(client, Options{}).To("a").Volatile()
	e.To("b").Except("c").Compress(true)
	e.Of("/x")
	if len(e.rooms) != 1 || len(e.except) != 0 || len(e.flags) != 1 || e.nsp != "/" {
		t.Errorf("changed: %+v", e)
	}
}
