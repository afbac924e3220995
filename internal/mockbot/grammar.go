package mockbot

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The reasons why a response does not parse, as the bot words them.
var (
	errUnmatched = errors.New("Unmatched bracket")                   //lint:ignore ST1005 shown as it is
	errNoOpening = errors.New("This bracket has no opening bracket") //lint:ignore ST1005 shown as it is
	errNoClosing = errors.New("Missed a closing bracket somewhere")  //lint:ignore ST1005 shown as it is
	errTooDeep   = errors.New("Brackets are nested too deeply")      //lint:ignore ST1005 shown as it is
	reactionName = regexp.MustCompile(`^(?::\w{1,64}:|<a?:\w{1,64}:\d{1,20}>)$`)
)

const (
	// maxDepth is how deep lists may be nested.
	maxDepth = 32
	// maxSignBytes is the length of the longest bracket that is no list: an emoji's.
	maxSignBytes = utf8.UTFMax * maxEmojiJoined
)

// nodeKind says what a node of a parsed response stands for.
type nodeKind uint8

const (
	nodeText nodeKind = iota
	nodeList          // one of its elements, at random
	nodeReaction
	nodeNoun
	nodeAdjective
	nodeAdverb
	nodeCount
	nodeAuthor
	nodeMember
	nodeCapture
)

// node is a part of a response. The first four fields depend on the kind.
type node struct {
	kind     nodeKind
	text     string   // to send, or the reaction
	elements [][]node // of a list, at least one
	capture  int      // the group's index, or lastCapture

	source string // as it was written; of a list only its end is, see tokens
}

const lastCapture = -1

// parser reads a response from left to right; its stack holds the lists that are open.
type parser struct {
	src   string
	pos   int
	stack []*openList
	out   []node // the sequence that is being read: an element's, or the response's
	plain strings.Builder
	start int // where plain began in src
}

// openList is a list before its closing bracket, and what surrounds it.
type openList struct {
	elements [][]node
	outer    []node
}

// parseResponse returns the nodes of a response. Its errors are reasons to show to the author. Newlines are dropped.
func parseResponse(src string) ([]node, error) {
	p := &parser{src: strings.NewReplacer("\r", "", "\n", "").Replace(src)}
	for p.pos < len(p.src) {
		if err := p.next(); err != nil {
			return nil, err
		}
	}
	p.flush()
	if len(p.stack) > 0 {
		return nil, errNoClosing
	}
	return p.out, nil
}

// next reads one character, or one bracket that is no list.
func (p *parser) next() error {
	switch c := p.src[p.pos]; {
	case c == '\\' && p.pos+1 < len(p.src):
		_, size := utf8.DecodeRuneInString(p.src[p.pos+1:])
		p.text(p.src[p.pos+1:p.pos+1+size], 1+size)
	case c == '[':
		return p.open()
	case c == ']':
		return p.close()
	case c == ',' && len(p.stack) > 0:
		p.flush()
		p.endElement()
		p.pos++
	default:
		_, size := utf8.DecodeRuneInString(p.src[p.pos:])
		p.text(p.src[p.pos:p.pos+size], size)
	}
	return nil
}

// text adds to the plain text what took that many bytes to write.
func (p *parser) text(s string, written int) {
	if p.plain.Len() == 0 {
		p.start = p.pos
	}
	p.plain.WriteString(s)
	p.pos += written
}

func (p *parser) flush() {
	if p.plain.Len() > 0 {
		p.out = append(p.out, node{kind: nodeText, text: p.plain.String(), source: p.src[p.start:p.pos]})
		p.plain.Reset()
	}
}

func (p *parser) open() error {
	p.flush()
	end := strings.IndexByte(p.src[p.pos:], ']')
	if end < 0 {
		return errUnmatched
	}
	source := p.src[p.pos : p.pos+end+1]
	if n, ok := bracket(source[1:end]); ok {
		n.source = source
		p.out = append(p.out, n)
		p.pos += len(source)
		return nil
	}
	if len(p.stack) >= maxDepth {
		return errTooDeep
	}
	p.stack = append(p.stack, &openList{outer: p.out})
	p.out = nil
	p.pos++
	return nil
}

func (p *parser) close() error {
	p.flush()
	if len(p.stack) == 0 {
		return errNoOpening
	}
	p.endElement()
	list := p.stack[len(p.stack)-1]
	p.stack = p.stack[:len(p.stack)-1]
	p.out = append(list.outer, node{kind: nodeList, elements: list.elements})
	p.pos++
	return nil
}

func (p *parser) endElement() {
	list := p.stack[len(p.stack)-1]
	list.elements = append(list.elements, p.out)
	p.out = nil
}

// bracket returns the node for a bracket that is no list.
func bracket(inner string) (node, bool) {
	if len(inner) > maxSignBytes { // brackets that are nested would each look at all that follows
		return node{}, false
	}
	switch strings.ToLower(inner) {
	case "noun":
		return node{kind: nodeNoun}, true
	case "adj":
		return node{kind: nodeAdjective}, true
	case "adv":
		return node{kind: nodeAdverb}, true
	case "count":
		return node{kind: nodeCount}, true
	case "author":
		return node{kind: nodeAuthor}, true
	case "member":
		return node{kind: nodeMember}, true
	case "capture":
		return node{kind: nodeCapture, capture: lastCapture}, true
	}
	if len(inner) <= 3 && inner != "" && strings.Trim(inner, "0123456789") == "" {
		n, err := strconv.Atoi(inner)
		return node{kind: nodeCapture, capture: n}, err == nil
	}
	if isReaction(inner) {
		return node{kind: nodeReaction, text: inner}, true
	}
	return node{}, false
}

func isReaction(s string) bool {
	switch {
	case s == "":
		return false
	case s[0] == ':' || s[0] == '<':
		return reactionName.MatchString(s)
	}
	return isEmoji(s)
}

// tokens lists a response's parts as [tag, text] for people to look at.
func tokens(seq []node) [][2]string {
	tags := map[nodeKind]string{
		nodeText: "text", nodeReaction: "react", nodeNoun: "noun", nodeAdjective: "adj", nodeAdverb: "adv",
		nodeCount: "count", nodeAuthor: "author", nodeMember: "member", nodeCapture: "capture",
	}
	list := [][2]string{}
	for _, n := range seq {
		if n.kind != nodeList {
			list = append(list, [2]string{tags[n.kind], n.source})
			continue
		}
		list = append(list, [2]string{"open", "["})
		for i, element := range n.elements {
			if i > 0 {
				list = append(list, [2]string{"separator", ","})
			}
			list = append(list, tokens(element)...)
		}
		list = append(list, [2]string{"close", "]"})
	}
	return list
}
