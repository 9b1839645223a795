// Package money counts money exactly: amounts in millionths of a currency's unit, and tables that say what a
// message or a verification costs. It never uses floating-point numbers.
package money

import (
	"fmt"
	"math"
	"math/bits"
	"regexp"
	"strconv"
	"strings"
)

// An Amount is an amount of money, in millionths of the currency's unit.
type Amount int64

const (
	unit   = 1_000_000
	digits = 6 // of a unit's fraction

	// Max is the largest amount that [Parse] reads.
	Max Amount = 1_000_000 * unit
)

var amountText = regexp.MustCompile(`^([0-9]{1,7})(?:\.([0-9]{1,6}))?$`)

// Parse reads an amount such as 0.0075.
func Parse(text string) (Amount, error) {
	parts := amountText.FindStringSubmatch(text)
	if parts == nil {
		return 0, errAmount
	}
	whole, _ := strconv.ParseInt(parts[1], 10, 64) // digits only
	fraction, _ := strconv.ParseInt(parts[2]+strings.Repeat("0", digits-len(parts[2])), 10, 64)
	a := Amount(whole*unit + fraction)
	if a > Max {
		return 0, errAmount
	}
	return a, nil
}

var errAmount = fmt.Errorf("must be an amount from 0 to %d, such as 0.0075, with at most %d digits after the point", Max/unit, digits)

// String writes the amount with two digits after the point, or as many as it takes to be exact.
func (a Amount) String() string {
	sign, n := "", uint64(a)
	if a < 0 {
		sign, n = "-", -n
	}
	fraction := fmt.Sprintf("%06d", n%unit)
	for len(fraction) > 2 && fraction[len(fraction)-1] == '0' {
		fraction = fraction[:len(fraction)-1]
	}
	return sign + strconv.FormatUint(n/unit, 10) + "." + fraction
}

// Times returns the amount of n of them. A product that no Amount can hold becomes the largest one.
func (a Amount) Times(n int) Amount {
	if a < 0 || n < 0 {
		panic("money: negative factor")
	}
	high, low := bits.Mul64(uint64(a), uint64(n))
	if high != 0 || low > math.MaxInt64 {
		return math.MaxInt64
	}
	return Amount(low)
}

// Float returns the amount as a floating-point number of units, for metrics only: it may be rounded.
func (a Amount) Float() float64 { return float64(a) / unit }

// A Currency is three letters of ISO 4217, such as EUR; "" is a currency that nobody has named.
type Currency string

// Valid reports whether c looks like a currency of ISO 4217.
func (c Currency) Valid() bool {
	return len(c) == 3 && strings.Trim(string(c), "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}
