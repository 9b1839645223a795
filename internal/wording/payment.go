package wording

import (
	"maps"
	"slices"
	"strings"
)

// payments say what a code pays, by language. They are short: with a payee's name, most take one segment.
var payments = map[string]string{
	"ar": "رمز دفع $amount إلى $payee: $code",
	"cs": "Váš kód k platbě $amount pro $payee: $code",
	"da": "Din kode til at betale $amount til $payee: $code",
	"de": "Ihr Code für die Zahlung von $amount an $payee: $code",
	"el": "Ο κωδικός σας για πληρωμή $amount σε $payee: $code",
	"en": "Your code to pay $amount to $payee: $code",
	"es": "Su código para pagar $amount a $payee: $code",
	"fi": "Koodisi maksuun $amount saajalle $payee: $code",
	"fr": "Votre code pour payer $amount à $payee : $code",
	"hi": "$payee को $amount के भुगतान के लिए आपका कोड: $code",
	"hu": "Az Ön kódja $amount fizetéséhez, kedvezményezett: $payee: $code",
	"id": "Kode Anda untuk membayar $amount kepada $payee: $code",
	"it": "Il suo codice per pagare $amount a $payee: $code",
	"ja": "${payee}への${amount}の支払いコード: $code",
	"ko": "${payee}에 ${amount} 결제를 위한 인증 코드: $code",
	"nb": "Koden din for å betale $amount til $payee: $code",
	"nl": "Uw code om $amount te betalen aan $payee: $code",
	"pl": "Kod płatności $amount dla $payee: $code",
	"pt": "O seu código para pagar $amount a $payee: $code",
	"ro": "Codul pentru plata a $amount către $payee: $code",
	"ru": "Ваш код для оплаты $amount получателю $payee: $code",
	"sv": "Din kod för att betala $amount till $payee: $code",
	"tr": "$payee alıcısına $amount ödeme kodunuz: $code",
	"uk": "Ваш код для сплати $amount одержувачу $payee: $code",
	"vi": "Mã của bạn để thanh toán $amount cho $payee: $code",
	"zh": "向${payee}支付${amount}的验证码：$code",
}

// Languages are those that have texts for payments, sorted.
func Languages() []string { return slices.Sorted(maps.Keys(payments)) }

// Speaks reports whether a locale, a BCP 47 tag, is of one of the languages.
func Speaks(locale string) bool { return payments[Language(locale)] != "" }

// Payment is the framed text of a message whose code pays an amount to a payee, in the language of a locale, else in
// English. Whatever the payee is called, only the code's place is the code's.
func Payment(locale string, m Medium, amount, payee string) string {
	text := payments[Language(locale)]
	if text == "" {
		text = payments["en"]
	}
	mark := CodeMark
	if m == Spoken {
		mark = SpellMark
	}
	return Parse(text).Render(map[string]string{"code": mark, "amount": amount, "payee": payee})
}

// Language is the language of a locale, which may be none of [Languages].
func Language(locale string) string {
	first, _, _ := strings.Cut(strings.ToLower(locale), "-")
	if first == "no" || first == "nn" { // as calls are spoken
		return "nb"
	}
	return first
}
