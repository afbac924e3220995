// Package js reads and writes JSON as JavaScript does: one walker, which finds the parts of a text without decoding
// them, and one writer of strings and numbers, which escapes what JSON.stringify escapes and nothing more.
package js
