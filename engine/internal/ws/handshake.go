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

// NegotiateDeflate accepts the first offer of permessage-deflate in r that works without context takeover on either
// side. It returns the value of Sec-WebSocket-Extensions for the answer, or "" if there is no such offer (RFC 7692,
// 7.1).
func NegotiateDeflate(r *http.Request) string {
	for _, line := range r.Header["Sec-Websocket-Extensions"] {
		for offer := range strings.SplitSeq(line, ",") {
			if answer, ok := deflateAnswer(offer); ok {
				return answer
			}
		}
	}
	return ""
}

func deflateAnswer(offer string) (string, bool) {
	params := strings.Split(offer, ";")
	if strings.TrimSpace(params[0]) != "permessage-deflate" {
		return "", false
	}
	answer := "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	seen := make(map[string]bool, len(params))
	for _, param := range params[1:] {
		name, value, hasValue := strings.Cut(strings.TrimSpace(param), "=")
		name, value = strings.TrimSpace(name), strings.Trim(strings.TrimSpace(value), `"`)
		if seen[name] {
			return "", false
		}
		seen[name] = true
		switch name {
		case "server_no_context_takeover", "client_no_context_takeover":
			if hasValue {
				return "", false
			}
		case "client_max_window_bits": // a hint: the client may use any window up to it
			if hasValue && !windowBits(value, 8) {
				return "", false
			}
		case "server_max_window_bits": // what we send always uses the full window
			if !hasValue || !windowBits(value, 15) {
				return "", false
			}
			answer += "; server_max_window_bits=15"
		default:
			return "", false
		}
	}
	return answer, true
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
