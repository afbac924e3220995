package botwire

// Types of entities. They stand in keys, in the arguments of requests and in the clients' pool requests.
const (
	TypeMember       = "member"
	TypeChannel      = "channel"
	TypeRole         = "role"
	TypeAutoResponse = "autoResponse"
	TypeSettingValue = "settingValue"
	TypeUser         = "user"
	TypeGuild        = "guild"
	TypeCustomEmoji  = "customEmoji"
)

// ValidType reports whether kind is a type of entities.
func ValidType(kind string) bool {
	switch kind {
	case TypeMember, TypeChannel, TypeRole, TypeAutoResponse, TypeSettingValue, TypeUser, TypeGuild, TypeCustomEmoji:
		return true
	}
	return false
}
