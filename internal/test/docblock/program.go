package docblock

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strings"
)

// imports are the packages of which the Go blocks speak.
var imports = map[string]string{
	"adapter": "github.com/architus/guildcast/adapter",
	"context": "context",
	"emitter": "github.com/architus/guildcast/adapter/emitter",
	"engine":  "github.com/architus/guildcast/engine",
	"http":    "net/http",
	"redis":   "github.com/redis/go-redis/v9",
	"slog":    "log/slog",
	"socket":  "github.com/zishang520/socket.io/v2/socket",
	"worker":  "github.com/architus/guildcast/worker",
}

// given are the names that a block may use without declaring them.
var given = map[string]string{
	"client":  "client := given.client",
	"conns":   "var conns []*engine.Conn",
	"ctx":     "ctx := given.ctx",
	"handler": "handler := given.worker",
	"id":      `id := "no such socket"`,
	"opts":    "opts := socket.DefaultServerOptions()",
}

// programMain calls each block, with a Redis at the address in its first argument, and a context that ends after the
// time in its second. A block that makes a handler must answer a handshake.
const programMain = `package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/worker"
)

type parts struct {
	client *redis.Client
	ctx    context.Context
	worker worker.Handler
}

var blocks []func(parts)

func main() {
	client := redis.NewClient(&redis.Options{Addr: os.Args[1]})
	atMost, err := time.ParseDuration(os.Args[2])
	check(err)
	for _, block := range blocks {
		ctx, cancel := context.WithTimeout(context.Background(), atMost)
		block(parts{client, ctx, idle{}})
		cancel()
	}
	fmt.Println("ran", len(blocks))
}

type idle struct{}

func (idle) Handle(context.Context, string, []byte, func([]byte, bool) error) error { return nil }

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func handshake(h http.Handler) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/socket.io/?EIO=4&transport=polling", nil))
	if w.Code != 200 {
		panic(w.Body.String())
	}
}
`

// Program returns the files of a program that runs all Go blocks; see programMain.
func Program(blocks []Block) (map[string]string, error) {
	files := map[string]string{"main.go": programMain}
	for _, b := range blocks {
		if b.Lang != "go" || b.NotRun != "" {
			continue
		}
		text, err := wrap(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", b, err)
		}
		files[fmt.Sprintf("block%d.go", len(files))] = text
	}
	return files, nil
}

var (
	importLine = regexp.MustCompile(`(?m)^import .*\n`)
	errLine    = regexp.MustCompile(`(?m)^err :?= .*$`)
)

// wrap makes a file of a block: imports for the packages that it names, declarations of the names that it takes for
// granted, and a use of those that it declares only to show them.
func wrap(b Block) (string, error) {
	body := errLine.ReplaceAllString(importLine.ReplaceAllString(b.Text, ""), "$0\ncheck(err)")
	free, declared, err := names(body)
	if err != nil {
		return "", err
	}
	var head, foot strings.Builder
	for _, name := range free {
		if given[name] != "" {
			fmt.Fprintln(&head, given[name])
		}
	}
	for _, name := range declared {
		fmt.Fprintf(&foot, "_ = %s\n", name)
	}
	if slices.Contains(declared, "handler") && !strings.Contains(body, "Shutdown") {
		foot.WriteString("handshake(handler)\n")
	}
	// The line directive makes errors name the page.
	body = fmt.Sprintf("%s\n//line %s:%d\n%s\n%s", head.String(), b.Page, b.Line+1, body, foot.String())
	uses, _, err := names(body)
	if err != nil {
		return "", err
	}
	var file strings.Builder
	file.WriteString("package main\n\n")
	for _, name := range uses {
		if path := imports[name]; path != "" {
			fmt.Fprintf(&file, "import %s %q\n", name, path)
		}
	}
	fmt.Fprintf(&file, "\nfunc init() {\nblocks = append(blocks, func(given parts) {\n%s})\n}\n", body)
	return file.String(), nil
}

// names returns what statements use without declaring it, and what they declare outside of functions.
func names(body string) (free, declared []string, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), "", "package p\nfunc _() {\n"+body+"\n}\n", 0)
	if err != nil {
		return nil, nil, err
	}
	for _, id := range file.Unresolved {
		if !slices.Contains(free, id.Name) {
			free = append(free, id.Name)
		}
	}
	for _, s := range file.Decls[0].(*ast.FuncDecl).Body.List {
		if a, ok := s.(*ast.AssignStmt); ok && a.Tok == token.DEFINE {
			for _, l := range a.Lhs {
				declared = append(declared, l.(*ast.Ident).Name)
			}
		}
	}
	return free, declared, nil
}
