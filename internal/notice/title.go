package notice

import (
	"cmp"
	"strings"

	"github.com/countersign/countersign/internal/verify"
)

// titles head notifications, by language: of a code, and of a prompt.
var titles = map[string]struct{ code, prompt string }{
	"ar": {"رمز التحقق الخاص بك", "هل هذا أنت؟"},
	"de": {"Ihr Code", "Sind Sie das?"},
	"en": {"Your code", "Is this you?"},
	"es": {"Su código", "¿Es usted?"},
	"fr": {"Votre code", "Est-ce bien vous ?"},
	"hi": {"आपका कोड", "क्या यह आप हैं?"},
	"id": {"Kode Anda", "Apakah ini Anda?"},
	"it": {"Il suo codice", "È lei?"},
	"ja": {"確認コード", "ご本人ですか？"},
	"nl": {"Uw code", "Bent u dit?"},
	"pl": {"Twój kod", "Czy to Ty?"},
	"pt": {"O seu código", "É você?"},
	"ru": {"Ваш код", "Это вы?"},
	"tr": {"Kodunuz", "Bu siz misiniz?"},
	"zh": {"您的验证码", "是您本人吗？"},
}

// Title heads a notification of a message on a device. It names nobody, because services that don't encrypt read it.
func Title(m *verify.Message, d *verify.Receiver) string {
	language, _, _ := strings.Cut(cmp.Or(d.Locale, m.Locale), "-")
	t, ok := titles[strings.ToLower(language)]
	if !ok {
		t = titles["en"]
	}
	if m.ByPrompt {
		return t.prompt
	}
	return t.code
}
