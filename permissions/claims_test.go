package permissions_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/architus/guildcast/permissions"
)

func TestClaimsIn(t *testing.T) {
	const outside = permissions.Bits(1<<64 - 1) // stands for "no member" in this table
	for fields, want := range map[string]permissions.Bits{
		`{"guilds":{"5":0}}`:                                    274,
		`{"guilds":{"5":6}}`:                                    278,
		`{"guilds":{"5":"6"}}`:                                  278,
		`{"guilds":{"5":"0x6"}}`:                                278,
		`{"guilds":{"5":"0X400"}}`:                              274 | 1024,
		`{"permissions":0,"guilds":{"5":0}}`:                    0,
		`{"permissions":"0x200","guilds":{"5":"4"}}`:            0x204,
		`{"permissions":18446744073709551614,"guilds":{"5":0}}`: permissions.All - 1,
		`{"guilds":{"5":1}}`:                                    permissions.All,
		`{"permissions":1,"guilds":{"5":0}}`:                    permissions.All,
		`{"architus_admin":true}`:                               permissions.All,
		`{"permissions":null,"guilds":{"5":2}}`:                 2,
		`{"permissions":-1,"guilds":{"5":2}}`:                   2,
		`{"permissions":1.5,"guilds":{"5":2}}`:                  2,
		`{"permissions":"all","guilds":{"5":2}}`:                2,
		`{"permissions":[1],"guilds":{"5":2}}`:                  2,
		`{"permissions":18446744073709551616,"guilds":{"5":2}}`: 2,
		`{"Permissions":1,"guilds":{"5":2}}`:                    274 | 2,
		`{}`:                                                    outside,
		`{"guilds":null}`:                                       outside,
		`{"guilds":["5"]}`:                                      outside,
		`{"guilds":"5"}`:                                        outside,
		`{"guilds":{"5":null}}`:                                 outside,
		`{"guilds":{"5":-1}}`:                                   outside,
		`{"guilds":{"5":1.0}}`:                                  outside,
		`{"guilds":{"5":true}}`:                                 outside,
		`{"guilds":{"5":""}}`:                                   outside,
		`{"guilds":{"5":"0x"}}`:                                 outside,
		`{"guilds":{"5":"1_000"}}`:                              outside,
		`{"guilds":{"5":" 1"}}`:                                 outside,
		`{"guilds":{" 5":1,"05":1,"٥":1}}`:                      outside,
		`{"Guilds":{"5":1}}`:                                    outside,
		`{"architus_admin":"true"}`:                             outside,
		`{"architus_admin":1}`:                                  outside,
		`{"Architus_Admin":true}`:                               outside,
	} {
		got, member := mustClaims(t, fields).In("5")
		if member != (want != outside) && !(want == permissions.All && member) || member && got != want {
			t.Errorf("%s: %v, %v; want %v", fields, got, member, want)
		}
	}
	if bits, member := (*permissions.Claims)(nil).In("5"); bits != 0 || member {
		t.Error("nil claims are a member")
	}
	if bits, member := (&permissions.Claims{}).In("5"); bits != 0 || member {
		t.Error("zero claims are a member")
	}
	if !(&permissions.Claims{}).Expired(at(0)) {
		t.Error("zero claims have not expired")
	}
}

func TestClaimsIdentity(t *testing.T) {
	c := mustClaims(t, `{"sub":18446744073709551615,"jti":7,"iat":5.5,"exp":1e3,"guilds":{"9":1,"10":"x","1":0}}`)
	if c.Subject != "18446744073709551615" || c.TokenID != "7" || c.IssuedAt.UnixMilli() != 5500 ||
		c.ExpiresAt.Unix() != 1000 {
		t.Errorf("parsed %+v", c)
	}
	if got := c.Guilds(); !slices.Equal(got, []string{"1", "9"}) {
		t.Errorf("guilds %v", got)
	}
}

func TestBitsString(t *testing.T) {
	for bits, want := range map[permissions.Bits]string{
		0: "none", permissions.All: "all", 1: "ADMINISTRATOR",
		0x112: "VIEW_PUBLIC_LOGS|ADD_AUTO_RESPONSE|VIEW_SETTINGS",
		0x800: "0x800", 0x10400: "EXEC_PURGE_CMD|0x10000",
	} {
		if got := bits.String(); got != want {
			t.Errorf("%d is %s, want %s", uint64(bits), got, want)
		}
	}
	for i, name := range referenceNames {
		if bit, ok := permissions.BitNamed(name); !ok || bit != 1<<i {
			t.Errorf("%s is %d", name, bit)
		}
	}
	if _, ok := permissions.BitNamed("view_settings"); ok {
		t.Error("names must count exactly")
	}
	if permissions.Default != 274 {
		t.Errorf("default is %d", permissions.Default)
	}
}

func FuzzParseClaims(f *testing.F) {
	f.Add([]byte(`{"sub":"1","exp":1790000000,"iat":1,"jti":"x","permissions":274,"guilds":{"6":6,"7":"0x1"},"architus_admin":false}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		c, err := permissions.ParseClaims(payload)
		if err != nil {
			return
		}
		if c.Subject == "" || c.ExpiresAt.IsZero() {
			t.Fatalf("accepted claims without sub or exp: %+v", c)
		}
		for _, guild := range c.Guilds() {
			if bits, member := c.In(guild); !member || bits.Has(permissions.Administrator) && bits != permissions.All {
				t.Fatalf("guild %q: %v, %v", guild, bits, member)
			}
		}
		_ = fmt.Sprint(c)
	})
}
