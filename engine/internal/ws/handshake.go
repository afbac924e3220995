package ws

import (
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
)

// acceptGUID is from RFC 6455, 1.3.
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// IsUpgrade reports whether r asks to upgrade to WebSocket.
func IsUpgrade(r *http.Request) bool {
	return r.ProtoMajor == 1 && hasToken(r.Header["Connection"], "upgrade") &&
		hasToken(r.Header["Upgrade"], "websocket")
}

// Accept checks the opening handshake (RFC 6455, 4.2.1) and returns the value of Sec-WebSocket-Accept. status is 0, or
// the HTTP status with which to refuse the request.
func Accept(r *http.Request) (accept string, status int) {
	key := strings.TrimSpace(r.Header.Get("Sec-Websocket-Key"))
	raw, err := base64.StdEncoding.DecodeString(key)
	switch {
	case r.Method != http.MethodGet:
		return "", http.StatusMethodNotAllowed
	case r.Header.Get("Sec-Websocket-Version") != "13":
		return "", http.StatusUpgradeRequired
	case err != nil, len(raw) != 16:
		return "", http.StatusBadRequest
	}
	sum := sha1.Sum([]byte(key + acceptGUID))
	return base64.StdEncoding.EncodeToString(sum[:]), 0
}

// Subprotocol returns the first subprotocol that the client offers, or "". A browser that offers subprotocols fails
// unless one is chosen; this package gives it no meaning.
func Subprotocol(r *http.Request) string {
	first, _, _ := strings.Cut(r.Header.Get("Sec-Websocket-Protocol"), ",")
	return strings.TrimSpace(first)
}

// NegotiateDeflate accepts the first offer of permessage-deflate in r that can be met, always without context takeover
// by the client. It returns the value of Sec-WebSocket-Extensions for the answer, or "" if there is no such offer (RFC
// 7692, 7.1). The server's side has no context takeover either, unless takeover allows it and the client does not
// refuse it: then kept is true, and the client keeps the window of what it has inflated, in full size.
func NegotiateDeflate(r *http.Request, takeover bool) (answer string, kept bool) {
	for _, line := range r.Header["Sec-Websocket-Extensions"] {
		for offer := range strings.SplitSeq(line, ",") {
			if answer, kept, ok := deflateAnswer(offer, takeover); ok {
				return answer, kept
			}
		}
	}
	return "", false
}

func deflateAnswer(offer string, takeover bool) (answer string, kept, ok bool) {
	params := strings.Split(offer, ";")
	if strings.TrimSpace(params[0]) != "permessage-deflate" {
		return "", false, false
	}
	window := ""
	seen := make(map[string]bool, len(params))
	for _, param := range params[1:] {
		name, value, hasValue := strings.Cut(strings.TrimSpace(param), "=")
		name, value = strings.TrimSpace(name), strings.Trim(strings.TrimSpace(value), `"`)
		if seen[name] {
			return "", false, false
		}
		seen[name] = true
		switch name {
		case "server_no_context_takeover", "client_no_context_takeover":
			if hasValue {
				return "", false, false
			}
		case "client_max_window_bits": // a hint: the client may use any window up to it
			if hasValue && !windowBits(value, 8) {
				return "", false, false
			}
		case "server_max_window_bits": // what we send always uses the full window
			if !hasValue || !windowBits(value, 15) {
				return "", false, false
			}
			window = "; server_max_window_bits=15"
		default:
			return "", false, false
		}
	}
	answer = "permessage-deflate"
	if kept = takeover && !seen["server_no_context_takeover"]; !kept {
		answer += "; server_no_context_takeover"
	}
	return answer + "; client_no_context_takeover" + window, kept, true
}

func windowBits(s string, least int) bool {
	n, err := strconv.Atoi(s)
	return err == nil && s == strconv.Itoa(n) && n >= least && n <= 15
}

// hasToken reports whether the comma-separated lists in lines contain token, ignoring case.
func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for t := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}
