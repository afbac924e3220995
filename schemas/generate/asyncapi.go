package main

import (
	"bytes"
	"strings"

	"go.yaml.in/yaml/v4"
)

// asyncAPI returns the AsyncAPI 3 document. The application that it describes is a node.
func (p *protocol) asyncAPI() ([]byte, error) {
	doc := mapping(
		"asyncapi", str("3.1.0"),
		"info", mapping(
			"title", str("guildcast"),
			"version", str(p.version),
			"description", str("What a guildcast node says and hears: Socket.IO events of browsers, and messages on Redis. "+
				"Socket.IO events are named like their messages, and have the payload as their first argument."),
			"license", mapping("name", str("MIT")),
		),
		"defaultContentType", str("application/json"),
		"servers", mapping(
			"node", mapping("host", str("gateway.example.com"), "protocol", str("wss"), "pathname", str("/socket.io/"),
				"description", str("Socket.IO 4 in the namespace /, by WebSocket or polling.")),
			"redis", mapping("host", str("redis.example.com:6379"), "protocol", str("redis"),
				"description", str("Pub/sub channels and streams.")),
		),
		"channels", p.asyncChannels(),
		"operations", p.asyncOperations(),
		"components", mapping("messages", p.asyncMessages(), "schemas", p.asyncSchemas()),
	)
	var b bytes.Buffer
	b.WriteString("# " + generatedNotice + "\n")
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(doc); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}

func (p *protocol) asyncChannels() *yaml.Node {
	channels := mapping()
	for _, c := range p.channels {
		body := mapping("address", str(c.address), "title", str(c.title), "description", str(c.description))
		server := "redis"
		if c.name == "socket" {
			server = "node"
		}
		put(body, "servers", sequence(ref("#/servers/"+server)))
		if len(c.parameters) > 0 {
			parameters := mapping()
			for _, q := range c.parameters {
				put(parameters, q.name, mapping("description", str(q.value)))
			}
			put(body, "parameters", parameters)
		}
		messages := mapping()
		for _, m := range c.messages {
			put(messages, m.name, ref("#/components/messages/"+m.name))
		}
		put(body, "messages", messages)
		put(channels, c.name, body)
	}
	return channels
}

// asyncOperations lists what a node does: it sends what is from nodes, and receives everything else.
func (p *protocol) asyncOperations() *yaml.Node {
	operations := mapping()
	for _, c := range p.channels {
		for _, m := range c.messages {
			action := "receive"
			if m.From == "node" {
				action = "send"
			}
			body := mapping("action", str(action), "channel", ref("#/channels/"+c.name), "summary", str(m.Summary),
				"messages", sequence(ref("#/channels/"+c.name+"/messages/"+m.name)))
			if len(m.Answers) > 0 {
				put(body, "reply", p.asyncReply(m))
			}
			put(operations, m.name, body)
		}
	}
	return operations
}

func (p *protocol) asyncReply(m message) *yaml.Node {
	c := p.channelOf(m.Answers[0])
	messages := sequence()
	for _, name := range m.Answers {
		messages.Content = append(messages.Content, ref("#/channels/"+c.name+"/messages/"+name))
	}
	reply := mapping("channel", ref("#/channels/"+c.name), "messages", messages)
	if c.name == "replies" {
		put(reply, "address", mapping("location", str("$message.payload#/reply_to")))
	}
	return reply
}

func (p *protocol) asyncMessages() *yaml.Node {
	messages := mapping()
	for _, c := range p.channels {
		for _, m := range c.messages {
			body := mapping("name", str(m.name), "summary", str(m.Summary))
			payload := ref("#/components/schemas/" + m.Payload)
			if m.Strings {
				s := mapping("type", str("string"), "contentMediaType", str("application/json"),
					"description", str("The same, serialised. Answers have the form of their request."))
				if m.Bare {
					s = mapping("type", str("string"), "description", str("The token itself, or the same, serialised."))
				}
				payload = mapping("anyOf", sequence(payload, s))
			}
			put(body, "payload", payload)
			if m.Position {
				put(body, "x-second-argument", mapping("description",
					str("For a client that asks for positions: the event's, or null if it is not durable."),
					"anyOf", sequence(ref("#/components/schemas/Position"), mapping("type", str("null")))))
			}
			if m.From == "client" {
				put(body, "x-acknowledgement", str("Gets the last answer, even an error."))
			}
			put(messages, m.name, body)
		}
	}
	return messages
}

func (p *protocol) asyncSchemas() *yaml.Node {
	schemas := mapping()
	for _, d := range p.defs {
		put(schemas, d.name, asyncSchema(d.schema))
	}
	return schemas
}

// asyncSchema returns a schema with its references rewritten.
func asyncSchema(n *yaml.Node) *yaml.Node {
	out := *n
	out.Style, out.Content = 0, nil
	out.HeadComment, out.LineComment, out.FootComment = "", "", ""
	if n.Kind != yaml.MappingNode {
		for _, c := range n.Content {
			out.Content = append(out.Content, asyncSchema(c))
		}
		return &out
	}
	for name, value := range members(n) {
		switch {
		case strings.HasPrefix(name, "x-"):
		case name == "$ref":
			put(&out, name, str("#/components/schemas/"+refOf(n)))
		default:
			put(&out, name, asyncSchema(value))
		}
	}
	return &out
}

// mapping returns a mapping of names and values.
func mapping(members ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for i := 0; i < len(members); i += 2 {
		put(n, members[i].(string), members[i+1].(*yaml.Node))
	}
	return n
}

func put(n *yaml.Node, name string, value *yaml.Node) {
	n.Content = append(n.Content, str(name), value)
}

func sequence(values ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: values}
}

func str(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }

func ref(to string) *yaml.Node { return mapping("$ref", str(to)) }
