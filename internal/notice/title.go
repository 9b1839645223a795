package notice

import (
	"cmp"

	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/wording"
)

// titles head notifications, by language: of a code, and of a prompt. The languages are those of calls.
var titles = map[string]struct{ code, prompt string }{
	"ar": {"رمز التحقق الخاص بك", "هل هذا أنت؟"},
	"cs": {"Váš kód", "Jste to vy?"},
	"da": {"Din kode", "Er det dig?"},
	"de": {"Ihr Code", "Sind Sie das?"},
	"el": {"Ο κωδικός σας", "Είστε εσείς;"},
	"en": {"Your code", "Is this you?"},
	"es": {"Su código", "¿Es usted?"},
	"fi": {"Koodisi", "Oletko tämä sinä?"},
	"fr": {"Votre code", "Est-ce bien vous ?"},
	"hi": {"आपका कोड", "क्या यह आप हैं?"},
	"hu": {"Az Ön kódja", "Ön az?"},
	"id": {"Kode Anda", "Apakah ini Anda?"},
	"it": {"Il Suo codice", "È Lei?"},
	"ja": {"確認コード", "ご本人ですか？"},
	"ko": {"인증 코드", "본인이 맞습니까?"},
	"nb": {"Koden din", "Er dette deg?"},
	"nl": {"Uw code", "Bent u dit?"},
	"pl": {"Twój kod", "Czy to Ty?"},
	"pt": {"O seu código", "É você?"},
	"ro": {"Codul dvs.", "Sunteți dvs.?"},
	"ru": {"Ваш код", "Это вы?"},
	"sv": {"Din kod", "Är det du?"},
	"tr": {"Kodunuz", "Bu siz misiniz?"},
	"uk": {"Ваш код", "Це ви?"},
	"vi": {"Mã của bạn", "Có phải bạn không?"},
	"zh": {"您的验证码", "是您本人吗？"},
}

// Title heads a notification of a message on a device. It names nobody, because services that don't encrypt read it.
func Title(m *verify.Message, d *verify.Receiver) string {
	t, ok := titles[wording.Language(cmp.Or(d.Locale, m.Locale))]
	if !ok {
		t = titles["en"]
	}
	if m.ByPrompt {
		return t.prompt
	}
	return t.code
}
