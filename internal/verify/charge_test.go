package verify

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/internal/money"
)

// What is stored of a charge and of a fee is read back as it was.
func TestChargesAndFeesAreReadBack(t *testing.T) {
	t.Parallel()
	amount := rapid.Custom(func(rt *rapid.T) money.Amount { return money.Amount(rapid.Int64Min(0).Draw(rt, "amount")) })
	currency := rapid.SampledFrom([]money.Currency{"", "EUR", "USD"})
	rapid.Check(t, func(rt *rapid.T) {
		c := Charge{Units: rapid.IntRange(0, 300).Draw(rt, "units"), Currency: currency.Draw(rt, "currency"), Cost: amount.Draw(rt, "cost"), Price: amount.Draw(rt, "price")}
		if got, err := ParseCharge(c.String()); got != c || err != nil {
			rt.Fatalf("%+v as %q: got %+v, %v", c, c.String(), got, err)
		}
		f := Fee{Currency: c.Currency, Price: c.Price}
		if got, err := ParseFee(f.String()); got != f || err != nil {
			rt.Fatalf("%+v as %q: got %+v, %v", f, f.String(), got, err)
		}
	})
	for _, text := range []string{"x", "1 2", "1 2 3", "1 2 3 EUR 4", "1 x 3 EUR", "1 2 x EUR"} {
		if c, err := ParseCharge(text); err == nil {
			t.Errorf("charge %q: got %+v, want an error", text, c)
		}
	}
	for _, text := range []string{"1", "x EUR"} {
		if f, err := ParseFee(text); err == nil {
			t.Errorf("fee %q: got %+v, want an error", text, f)
		}
	}
}
