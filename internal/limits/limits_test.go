package limits

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

func TestEveryLimitHasADefault(t *testing.T) {
	v := reflect.ValueOf(Limits{}.WithDefaults())
	for i := range v.NumField() {
		for j := range v.Field(i).NumField() {
			if v.Field(i).Field(j).IsZero() {
				t.Errorf("%s.%s has no default", v.Type().Field(i).Name, v.Field(i).Type().Field(j).Name)
			}
		}
	}
}

func TestASetLimitIsKept(t *testing.T) {
	set := reflect.New(reflect.TypeFor[Limits]()).Elem()
	for i := range set.NumField() {
		for j := range set.Field(i).NumField() {
			set.Field(i).Field(j).SetInt(int64(7 + i + j))
		}
	}
	want := set.Interface().(Limits)
	if got := want.WithDefaults(); got != want {
		t.Errorf("WithDefaults changed %+v to %+v", want, got)
	}
}

func TestUnitsSurviveJSON(t *testing.T) {
	in := Limits{Source: Source{Bytes: 256 << 20, Timeout: Duration(90 * time.Second)}}
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"source":{"bytes":"256Mi","timeout":"1m30s"}}`; string(raw) != want {
		t.Errorf("encoded as %s, want %s", raw, want)
	}
	var out Limits
	if err := json.Unmarshal(raw, &out); err != nil || out != in {
		t.Errorf("decoded %+v (%v), want %+v", out, err, in)
	}
}

func TestADurationIsWrittenAsPeopleWriteIt(t *testing.T) {
	for in, want := range map[time.Duration]string{
		0: "0s", 10 * time.Second: "10s", time.Minute: "1m", 90 * time.Second: "1m30s", 10 * time.Minute: "10m",
		time.Hour: "1h", 100 * time.Hour: "100h", time.Hour + time.Minute: "1h1m", time.Hour + time.Second: "1h0m1s",
		1500 * time.Millisecond: "1.5s", -time.Hour: "-1h",
	} {
		if got := Duration(in).String(); got != want {
			t.Errorf("%v is written as %s, want %s", in, got, want)
		}
	}
}

func TestUnitsRefuseWhatTheyCannotHold(t *testing.T) {
	for name, raw := range map[string]string{
		"a size that is a word":        `{"source":{"bytes":"much"}}`,
		"half a byte":                  `{"source":{"bytes":"500m"}}`,
		"more bytes than there can be": `{"source":{"bytes":"100Ei"}}`,
		"a duration without a unit":    `{"source":{"timeout":"5"}}`,
		"a duration that is a number":  `{"source":{"timeout":5}}`,
	} {
		t.Run(name, func(t *testing.T) {
			var l Limits
			if err := json.Unmarshal([]byte(raw), &l); err == nil {
				t.Errorf("%s was read as %+v", raw, l)
			}
		})
	}
}
