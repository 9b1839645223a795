package verify

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/countersign/countersign/internal/money"
)

// A Charge is what an attempt came to when it ended: later changes of prices don't change it.
type Charge struct {
	// Units are what the attempt is billed by: the segments of a text, the minutes that were begun of a call that we
	// made, or one call. 0: nothing was sent.
	Units    int
	Currency money.Currency // "": the operator has named none
	Cost     money.Amount   // what the carrier takes
	Price    money.Amount   // what the project is charged
}

// IsZero reports whether the attempt came to nothing.
func (c Charge) IsZero() bool { return c == Charge{} }

// String writes a charge as it is stored: its units, and its money if it has any.
func (c Charge) String() string {
	switch {
	case c.IsZero():
		return ""
	case c.Currency == "" && c.Cost == 0 && c.Price == 0:
		return strconv.Itoa(c.Units)
	}
	return strconv.Itoa(c.Units) + " " + decimal(c.Cost) + " " + decimal(c.Price) + " " + string(c.Currency)
}

// ParseCharge reads a charge that was stored.
func ParseCharge(text string) (c Charge, err error) {
	if text == "" {
		return c, nil
	}
	units, rest, priced := strings.Cut(text, " ")
	if c.Units, err = strconv.Atoi(units); err != nil || !priced {
		return c, err
	}
	word := strings.Split(rest, " ")
	if len(word) != 3 {
		return c, fmt.Errorf("a charge has %d words, want 1 or 4", len(word)+1)
	}
	cost, err := strconv.ParseInt(word[0], 10, 64)
	if err != nil {
		return c, err
	}
	price, err := strconv.ParseInt(word[1], 10, 64)
	c.Currency, c.Cost, c.Price = money.Currency(word[2]), money.Amount(cost), money.Amount(price)
	return c, err
}

// A Fee is what a project is charged for a verification that was started, beside its messages.
type Fee struct {
	Currency money.Currency // "": there are no prices
	Price    money.Amount
}

// String writes a fee as it is stored.
func (f Fee) String() string {
	if f == (Fee{}) {
		return ""
	}
	return decimal(f.Price) + " " + string(f.Currency)
}

// decimal writes an amount in millionths.
func decimal(a money.Amount) string { return strconv.FormatInt(int64(a), 10) }

// ParseFee reads a fee that was stored.
func ParseFee(text string) (f Fee, err error) {
	if text == "" {
		return f, nil
	}
	price, currency, ok := strings.Cut(text, " ")
	if !ok {
		return f, fmt.Errorf("a fee has one word, want 2")
	}
	n, err := strconv.ParseInt(price, 10, 64)
	return Fee{money.Currency(currency), money.Amount(n)}, err
}

// fee is what v is charged by a price list.
func (v *Verification) fee(p *money.Prices) Fee {
	if p.Currency == "" {
		return Fee{}
	}
	f := Fee{Currency: p.Currency}
	if len(p.Verifications) > 0 {
		f.Price, _ = p.Verifications.Find(money.Subject{Channel: string(v.Channel), Country: v.Reach().Region()}, v.ID.Time())
	}
	return f
}
