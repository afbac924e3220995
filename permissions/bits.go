// Package permissions decides who may see what: a token's claims, the policy that says what an event requires, and the
// Filter, which is the only way from a topic to a recipient. It does no I/O. Its zero values deny.
package permissions

import (
	"slices"
	"strconv"
	"strings"
)

// Bits is a set of permissions in one guild.
type Bits uint64

// The permissions that have names. Other bits are carried and compared like these.
const (
	Administrator Bits = 1 << iota // stands for every other bit
	ViewPublicLogs
	ViewPrivateLogs
	RevertLogActions
	AddAutoResponse
	IgnoreAutoResponseQuota
	EditAnyAutoResponse
	DeleteAnyAutoResponse
	ViewSettings
	ManageSettings
	ExecPurgeCmd
)

// Default is what a member holds if its token says nothing about permissions: 274.
const Default = ViewPublicLogs | AddAutoResponse | ViewSettings

// All is what an administrator holds: every bit, named or not.
const All = ^Bits(0)

// named are the bits that have names.
const named = ExecPurgeCmd<<1 - 1

// bitNames are the names of the bits, from the lowest. Never written to.
var bitNames = [...]string{
	"ADMINISTRATOR", "VIEW_PUBLIC_LOGS", "VIEW_PRIVATE_LOGS", "REVERT_LOG_ACTIONS", "ADD_AUTO_RESPONSE",
	"IGNORE_AUTO_RESPONSE_QUOTA", "EDIT_ANY_AUTO_RESPONSE", "DELETE_ANY_AUTO_RESPONSE", "VIEW_SETTINGS",
	"MANAGE_SETTINGS", "EXEC_PURGE_CMD",
}

// BitNamed returns the permission with this exact name, and whether there is one.
func BitNamed(name string) (Bits, bool) {
	i := slices.Index(bitNames[:], name)
	if i < 0 {
		return 0, false
	}
	return 1 << i, true
}

// Has reports whether b includes every bit of need.
func (b Bits) Has(need Bits) bool { return b&need == need }

// String returns the names of the bits, for logs; bits without a name come last, in hexadecimal.
func (b Bits) String() string {
	switch b {
	case 0:
		return "none"
	case All:
		return "all"
	}
	return strings.Join(b.Names(), "|")
}

// Names returns the names of the bits, from the lowest; bits without a name come last, in one hexadecimal number.
func (b Bits) Names() []string {
	names := []string{}
	for i, name := range bitNames {
		if b&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if rest := b >> len(bitNames) << len(bitNames); rest != 0 {
		names = append(names, "0x"+strconv.FormatUint(uint64(rest), 16))
	}
	return names
}
