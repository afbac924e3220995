package js

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzQuote compares the quoter with encoding/json, which escapes a few characters more.
func FuzzQuote(f *testing.F) {
	for _, seed := range []string{
		"", "plain", "<a&b>\u2028\u2029\"\\\n\r\t\b\f\x00\x1f\x7f", "é😀\xff\xed\xa0\x80\xe2\x82", "\xf0\x90\x80",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(s); err != nil {
			t.Fatal(err)
		}
		// The pair of backslashes is listed so that what follows an escaped one is not taken for an escape.
		want := strings.NewReplacer(`\\`, `\\`, `\u2028`, "\u2028", `\u2029`, "\u2029", `\ufffd`, "\ufffd").
			Replace(strings.TrimSuffix(b.String(), "\n"))
		got := Quote(s)
		if string(got) != want {
			t.Fatalf("%q: %s, want %s", s, got, want)
		}
		if again, ok := Unquote(got); !ok || again != string([]rune(s)) {
			t.Fatalf("%q came back as %q, %v", s, again, ok)
		}
		text := AppendBytes(nil, []byte(s))
		if again, ok := Unquote(text); !ok || again != Text([]byte(s)) {
			t.Fatalf("%q as bytes came back as %q, %v", s, again, ok)
		}
		if utf8.ValidString(s) && !bytes.Equal(text, got) {
			t.Fatalf("%q: %s as a string, %s as bytes", s, got, text)
		}
	})
}

// The values are those of Node.js: Buffer.from(...).toString().
func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"a\xffb": "a\ufffdb", "\xe2\x82": "\ufffd", "\xe2\x82\xe2\x82\xac": "\ufffd€", "\xf0\x9f\x98": "\ufffd",
		"\xed\xa0\x80": "\ufffd\ufffd\ufffd", "\xc0\x80": "\ufffd\ufffd", "\xf5\x80": "\ufffd\ufffd", "é": "é",
	} {
		if got := Text([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// The values are those of Node.js: JSON.stringify(...).
func TestAppendNumber(t *testing.T) {
	for want, f := range map[string]float64{
		"0": math.Copysign(0, -1), "1.5": 1.5, "100000000000000000000": 1e20, "1e+21": 1e21, "0.000001": 1e-6,
		"1e-7": 1e-7, "1.25e-10": 1.25e-10,
		"1.7976931348623157e+308": math.MaxFloat64, "5e-324": math.SmallestNonzeroFloat64, "-1e-7": -1e-7,
		"null": math.NaN(),
	} {
		if got := string(AppendNumber(nil, f)); got != want {
			t.Errorf("%v: %s, want %s", f, got, want)
		}
	}
	if got := string(AppendNumber([]byte("["), math.Inf(-1))); got != "[null" {
		t.Errorf("infinity: %s", got)
	}
}
