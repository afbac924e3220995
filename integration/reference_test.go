//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// This file says once more, slowly and plainly, who may see what, from the documents alone: the tests compare what real
// clients received with it. It shares no code with the node.

const (
	bitAdministrator = 0x1
	bitPublicLogs    = 0x2
	bitPrivateLogs   = 0x4
	bitViewSettings  = 0x100
	defaultBits      = 0x112
)

var bitNames = map[string]uint64{
	"ADMINISTRATOR": 0x1, "VIEW_PUBLIC_LOGS": 0x2, "VIEW_PRIVATE_LOGS": 0x4, "REVERT_LOG_ACTIONS": 0x8,
	"ADD_AUTO_RESPONSE": 0x10, "IGNORE_AUTO_RESPONSE_QUOTA": 0x20, "EDIT_ANY_AUTO_RESPONSE": 0x40,
	"DELETE_ANY_AUTO_RESPONSE": 0x80, "VIEW_SETTINGS": 0x100, "MANAGE_SETTINGS": 0x200, "EXEC_PURGE_CMD": 0x400,
}

// viewer is what a token says.
type viewer struct {
	Permissions *uint64           `json:"permissions"`
	Guilds      map[string]uint64 `json:"guilds"`
	Admin       bool              `json:"architus_admin"`
}

func (v viewer) member(guild string) bool {
	_, ok := v.Guilds[guild]
	return ok || v.Admin
}

func (v viewer) has(guild string, bits uint64) bool {
	if !v.member(guild) {
		return false
	}
	if v.Admin {
		return true
	}
	own := uint64(defaultBits)
	if v.Permissions != nil {
		own = *v.Permissions
	}
	own |= v.Guilds[guild]
	return own&bitAdministrator != 0 || own&bits == bits
}

// sees tells whether v, who spectates guild, gets message of its topic (the logs topic when logs is true, and then v
// spectates with logs), under which event name and with which payload.
func (v viewer) sees(guild string, logs bool, message []byte) (name string, payload json.RawMessage, ok bool) {
	var m struct {
		Event   string          `json:"event"`
		Kind    string          `json:"kind"`
		Private bool            `json:"private"`
		Require json.RawMessage `json:"requires"`
		Payload json.RawMessage `json:"payload"`
		Action  *int            `json:"action_number"`
	}
	if json.Unmarshal(message, &m) != nil {
		return "", nil, false
	}
	payload, kind := m.Payload, m.Kind
	if m.Action != nil {
		payload, kind = message, actionKind(*m.Action)
	}
	name = m.Event
	if name == "" {
		name = "log_pool"
		if logs {
			name = "log_other"
		}
	}
	bits, known := kindBits(kind, m.Private)
	if !known || !v.member(guild) || kind == "internal" && !v.Admin {
		return "", nil, false
	}
	required, understood := requiredBits(m.Require)
	if !understood {
		return "", nil, false
	}
	return name, payload, v.has(guild, bits|required)
}

func kindBits(kind string, private bool) (bits uint64, known bool) {
	if private {
		bits = bitPrivateLogs
	}
	switch kind {
	case "guild", "channel", "role", "emoji", "member", "user", "auto_response", "internal":
	case "setting":
		bits |= bitViewSettings
	case "message", "reaction", "invite", "webhook", "integration", "interaction":
		if !private {
			bits |= bitPublicLogs
		}
	case "moderation":
		bits |= bitPrivateLogs
	case "administrator":
		bits |= bitAdministrator
	default:
		return 0, false
	}
	return bits, true
}

func requiredBits(raw json.RawMessage) (bits uint64, understood bool) {
	if len(raw) == 0 || string(raw) == "null" {
		return 0, true
	}
	if n, err := strconv.ParseUint(string(raw), 10, 64); err == nil {
		return n, true
	}
	var names []string
	if json.Unmarshal(raw, &names) != nil {
		return 0, false
	}
	for _, name := range names {
		if bitNames[name] == 0 {
			return 0, false
		}
		bits |= bitNames[name]
	}
	return bits, true
}

func actionKind(n int) string {
	kinds := map[string]string{
		"guild": "1 2000", "channel": "10-15", "moderation": "20-23 26-27", "member": "24-25 2001-2002",
		"integration": "28 80-82",
		"role":        "30-32", "invite": "40-42", "webhook": "50-52", "emoji": "60-62 3400-3403",
		"message":  "72-75 3001-3003 2003-2005",
		"reaction": "2006-2008 3100-3101", "interaction": "2009", "auto_response": "3200-3203",
		"administrator": "3300-3301",
	}
	for kind, ranges := range kinds {
		if slices.ContainsFunc(strings.Fields(ranges), func(r string) bool {
			var from, to int
			if _, err := fmt.Sscanf(r, "%d-%d", &from, &to); err != nil {
				fmt.Sscanf(r, "%d", &from)
				to = from
			}
			return from <= n && n <= to
		}) {
			return kind
		}
	}
	return ""
}
