package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/zishang520/engine.io/v2/types"

	"github.com/architus/guildcast/internal/js"
)

// jsonEncoder appends JSON to b as JSON.stringify writes it. It extracts attachments, which are []byte and io.Reader
// values at any depth of []any and map[string]any. It passes types that it does not know to encoding/json. It differs
// from encoding/json in two ways: it does not escape <, >, &, U+2028 and U+2029, and it writes -0 as 0.
type jsonEncoder struct {
	b    []byte
	bins [][]byte
}

var errTooDeep = errors.New("data is too deep, or contains itself")

// maxOwnDepth bounds the depth of data that we encode, or decode from our own messages.
const maxOwnDepth = 1000

func (e *jsonEncoder) value(v any, depth int) error {
	if depth > maxOwnDepth {
		return errTooDeep
	}
	switch v := v.(type) {
	case nil:
		e.b = append(e.b, "null"...)
	case string:
		e.b = js.AppendString(e.b, v)
	case bool:
		e.b = strconv.AppendBool(e.b, v)
	case int:
		e.b = strconv.AppendInt(e.b, int64(v), 10)
	case int64:
		e.b = strconv.AppendInt(e.b, v, 10)
	case uint64:
		e.b = strconv.AppendUint(e.b, v, 10)
	case float64:
		return e.number(v)
	case []any:
		return e.array(v, depth)
	case map[string]any:
		return e.object(v, depth)
	case []byte:
		e.attachment(v)
	case io.Reader:
		return e.reader(v)
	default:
		return e.other(v)
	}
	return nil
}

// reader encodes what v holds. It does not consume buffers, because they may be sent again.
func (e *jsonEncoder) reader(v io.Reader) error {
	switch b := v.(type) {
	case *types.StringBuffer:
		if b != nil && b.Buffer != nil {
			e.b = js.AppendString(e.b, b.String())
			return nil
		}
		return e.other(b)
	case *types.BytesBuffer:
		if b != nil && b.Buffer != nil {
			e.attachment(b.Bytes())
			return nil
		}
		return e.other(nil)
	}
	if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer && p.IsNil() {
		return e.other(nil)
	}
	b, err := readAttachment(v)
	if _, ok := v.(*strings.Reader); ok {
		e.b = js.AppendString(e.b, string(b))
	} else {
		e.attachment(b)
	}
	return err
}

func (e *jsonEncoder) array(v []any, depth int) error {
	if v == nil {
		e.b = append(e.b, "null"...)
		return nil
	}
	e.b = append(e.b, '[')
	for i := range v {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		if err := e.value(v[i], depth+1); err != nil {
			return err
		}
	}
	e.b = append(e.b, ']')
	return nil
}

// object encodes the keys in sorted order, so that equal data makes equal messages.
func (e *jsonEncoder) object(v map[string]any, depth int) error {
	if v == nil {
		e.b = append(e.b, "null"...)
		return nil
	}
	var few [16]string
	keys := few[:0]
	for k := range v {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	e.b = append(e.b, '{')
	for i, k := range keys {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.b = append(js.AppendString(e.b, k), ':')
		if err := e.value(v[k], depth+1); err != nil {
			return err
		}
	}
	e.b = append(e.b, '}')
	return nil
}

// number encodes f. It fails for NaN and infinities, for which JSON.stringify writes null.
func (e *jsonEncoder) number(f float64) error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Errorf("number %v is no JSON", f)
	}
	e.b = js.AppendNumber(e.b, f)
	return nil
}

// other encodes a value of any other type.
func (e *jsonEncoder) other(v any) error {
	w := jsonTail{e.b}
	enc := json.NewEncoder(&w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	start := len(e.b)
	e.b = w.b[:len(w.b)-1]                    // without the newline
	if own := e.b[start:]; !utf8.Valid(own) { // encoding/json only checks that a json.Marshaler's text is JSON
		e.b = append(e.b[:start], string([]rune(string(own)))...)
	}
	return nil
}

type jsonTail struct{ b []byte }

func (t *jsonTail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	return len(b), nil
}

func (e *jsonEncoder) attachment(b []byte) {
	e.b = append(e.b, `{"_placeholder":true,"num":`...)
	e.b = strconv.AppendInt(e.b, int64(len(e.bins)), 10)
	e.b = append(e.b, '}')
	e.bins = append(e.bins, b)
}

func readAttachment(r io.Reader) ([]byte, error) {
	if c, ok := r.(io.Closer); ok {
		defer c.Close() // only read, so an error loses nothing
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read attachment: %w", err)
	}
	return b, nil
}
