package traces

import (
	"google.golang.org/protobuf/encoding/protowire"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// encode returns spans as an ExportTraceServiceRequest of OTLP 1 (opentelemetry-proto, collector/trace/v1). All are of
// one resource and one scope: this program has one Tracer.
func encode(spans []sdk.ReadOnlySpan) []byte {
	var resource, scope, scoped []byte
	for _, kv := range spans[0].Resource().Attributes() {
		resource = message(resource, 1, keyValue(kv))
	}
	scope = text(scope, 1, spans[0].InstrumentationScope().Name)
	scoped = message(scoped, 1, scope)
	for _, s := range spans {
		scoped = message(scoped, 2, encodeSpan(s))
	}
	return message(nil, 1, message(message(nil, 1, resource), 2, scoped))
}

func encodeSpan(s sdk.ReadOnlySpan) (b []byte) {
	own, parent := s.SpanContext(), s.Parent()
	trace, id := own.TraceID(), own.SpanID()
	b = message(b, 1, trace[:])
	b = message(b, 2, id[:])
	b = text(b, 3, own.TraceState().String())
	if parent.SpanID().IsValid() {
		id := parent.SpanID()
		b = message(b, 4, id[:])
	}
	b = text(b, 5, s.Name())
	b = number(b, 6, uint64(s.SpanKind())) // the same numbers
	b = protowire.AppendFixed64(protowire.AppendTag(b, 7, protowire.Fixed64Type), uint64(s.StartTime().UnixNano()))
	b = protowire.AppendFixed64(protowire.AppendTag(b, 8, protowire.Fixed64Type), uint64(s.EndTime().UnixNano()))
	for _, kv := range s.Attributes() {
		b = message(b, 9, keyValue(kv))
	}
	if s.Status().Code == codes.Error {
		b = message(b, 15, number(text(nil, 2, s.Status().Description), 3, 2))
	}
	flags := uint32(own.TraceFlags()) | 0x100 // it is known whether the parent is remote
	if parent.IsRemote() {
		flags |= 0x200
	}
	return protowire.AppendFixed32(protowire.AppendTag(b, 16, protowire.Fixed32Type), flags)
}

// keyValue encodes an attribute. Types that this package does not use become texts.
func keyValue(kv attribute.KeyValue) []byte {
	var value []byte
	switch kv.Value.Type() {
	case attribute.BOOL:
		value = number(nil, 2, protowire.EncodeBool(kv.Value.AsBool()))
	case attribute.INT64:
		value = number(nil, 3, uint64(kv.Value.AsInt64()))
	default:
		value = message(nil, 1, []byte(kv.Value.String()))
	}
	return message(text(nil, 1, string(kv.Key)), 2, value)
}

// message appends a field of bytes, which may be none.
func message(b []byte, field protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), value)
}

// text appends a field unless it is empty.
func text(b []byte, field protowire.Number, value string) []byte {
	if value == "" {
		return b
	}
	return message(b, field, []byte(value))
}

func number(b []byte, field protowire.Number, value uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), value)
}
