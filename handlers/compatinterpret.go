package handlers

import "encoding/json"

// compatInterpret maps the members of a mock_user_event to those of an `interpret` request.
var compatInterpret = map[string]string{
	"action": "action", "guildId": "guild_id", "messageId": "message_id", "content": "content", "emoji": "emoji",
	"allowedCommands": "allowed_commands", "silent": "silent",
}

// onMockUserEvent answers `mock_user_event`, which is `interpret` in camel case.
func onMockUserEvent(r *request) error {
	fields := map[string]any{}
	for theirs, ours := range compatInterpret {
		if v, there := r.fields[theirs]; there {
			fields[ours] = v
		}
	}
	r.fields = fields
	return r.interpret(eventMockBotEvent, mockBotEvent)
}

// compatAction is one thing that the bot did. Which members there are follows from Action.
type compatAction struct {
	Action      int     `json:"action"`
	MessageID   *int64  `json:"messageId"`
	Content     *string `json:"content,omitempty"`
	Emoji       *string `json:"emoji,omitempty"`
	TargetsUser *bool   `json:"targetsUser,omitempty"`
}

// mockBotEvent returns an interpreter's answer as the first dashboard decodes it. It leaves out actions that the
// dashboard does not know, because it would drop all of them.
func mockBotEvent(result, id []byte) ([]byte, error) {
	var ours struct {
		GuildID *int64 `json:"guild_id"`
		Actions []struct {
			Action      int     `json:"action"`
			MessageID   *int64  `json:"message_id"`
			Content     *string `json:"content"`
			Emoji       *string `json:"emoji"`
			TargetsUser bool    `json:"targets_user"`
		} `json:"actions"`
	}
	if err := json.Unmarshal(result, &ours); err != nil || ours.GuildID == nil {
		return nil, errUnreadable().because(err)
	}
	theirs := struct {
		ID      json.RawMessage `json:"_id,omitempty"`
		GuildID int64           `json:"guildId"`
		Actions []compatAction  `json:"actions"`
	}{id, *ours.GuildID, []compatAction{}}
	for _, a := range ours.Actions {
		action := compatAction{Action: a.Action, MessageID: a.MessageID}
		known := a.MessageID != nil
		switch a.Action {
		case actionMessageSent, actionMessageEdited:
			action.Content = a.Content
			known = known && a.Content != nil
		case actionMessageDeleted:
		case actionReactionAdded:
			action.Emoji = a.Emoji
			known = known && a.Emoji != nil
		case actionReactionRemoved:
			action.Emoji, action.TargetsUser = a.Emoji, &a.TargetsUser
			known = known && a.Emoji != nil
		default:
			known = false
		}
		if known {
			theirs.Actions = append(theirs.Actions, action)
		}
	}
	return encode(theirs), nil
}

// Actions of interpreters.
const (
	actionMessageSent     = 3001
	actionMessageEdited   = 3002
	actionMessageDeleted  = 72
	actionReactionAdded   = 3100
	actionReactionRemoved = 3101
)
