package main

import "strings"

// words holds the texts of a locale's prompts and the espeak-ng voice that
// speaks them.
type words struct {
	voice string

	intro   string // before the code
	again   string // before the code is repeated
	repeat  string // press 1 to hear it again
	confirm string // to hear the code, press 1
	capital string // before an upper-case letter

	// The texts of a call that asks for a key: the request, how to say yes, how to say no, and
	// thanks.
	asked, approve, reject, thanks string

	symbols []string // the names of ! # $ % & * + = ? @
	digits  []string // if the voice can't read figures
	letters []string // if the voice needs the letters' names written out
	english bool     // letters have their English names, which the voice doesn't know

	as       string   // "as in"
	spelling []string // a word for each letter
}

// list splits a string at commas.
func list(s string) []string { return strings.Split(s, ", ") }

var all = map[string]words{
	"ar": {
		voice:   "ar",
		intro:   "رمز التحقق الخاص بك هو",
		again:   "مرة أخرى",
		repeat:  "لسماع الرمز مرة أخرى، اضغط 1",
		confirm: "لسماع الرمز، اضغط 1",
		capital: "حرف كبير",
		asked:   "لديك طلب تحقق",
		approve: "للموافقة عليه، اضغط 1",
		reject:  "إن لم تكن أنت، اضغط 9 أو أغلق الخط",
		thanks:  "شكرا لك",
		symbols: list("علامة تعجب, مربع, دولار, بالمئة, علامة و, نجمة, زائد, يساوي, علامة استفهام, آت"),
		english: true,
	},
	"de": {
		voice:    "de",
		intro:    "Ihr Bestätigungscode lautet",
		again:    "Noch einmal",
		repeat:   "Um ihn noch einmal zu hören, drücken Sie die 1",
		confirm:  "Um Ihren Code zu hören, drücken Sie die 1",
		capital:  "groß",
		asked:    "Sie haben eine Bestätigungsanfrage",
		approve:  "Zum Bestätigen drücken Sie die 1",
		reject:   "Wenn Sie das nicht waren, drücken Sie die 9 oder legen Sie auf",
		thanks:   "Vielen Dank",
		symbols:  list("Ausrufezeichen, Raute, Dollar, Prozent, Und-Zeichen, Stern, Plus, Gleich, Fragezeichen, Ätt-Zeichen"),
		as:       "wie",
		spelling: list("Anton, Berta, Cäsar, Dora, Emil, Friedrich, Gustav, Heinrich, Ida, Julius, Kaufmann, Ludwig, Martha, Nordpol, Otto, Paula, Quelle, Richard, Samuel, Theodor, Ulrich, Viktor, Wilhelm, Xanthippe, Ypsilon, Zacharias"),
	},
	"en": {
		voice:    "en-us",
		intro:    "Your verification code is",
		again:    "Once again",
		repeat:   "To hear it again, press 1",
		confirm:  "To hear your code, press 1",
		capital:  "capital",
		asked:    "You have a verification request",
		approve:  "To approve it, press 1",
		reject:   "If this wasn't you, press 9 or hang up",
		thanks:   "Thank you",
		symbols:  list("exclamation mark, pound sign, dollar sign, percent sign, ampersand, asterisk, plus sign, equals sign, question mark, at sign"),
		as:       "as in",
		spelling: list("Alpha, Bravo, Charlie, Delta, Echo, Foxtrot, Golf, Hotel, India, Juliet, Kilo, Lima, Mike, November, Oscar, Papa, Quebec, Romeo, Sierra, Tango, Uniform, Victor, Whiskey, X-ray, Yankee, Zulu"),
	},
	"es": {
		voice:   "es",
		intro:   "Su código de verificación es",
		again:   "Repito",
		repeat:  "Para escucharlo de nuevo, pulse 1",
		confirm: "Para escuchar su código, pulse 1",
		capital: "mayúscula",
		asked:   "Tiene una solicitud de verificación",
		approve: "Para aprobarla, pulse 1",
		reject:  "Si no ha sido usted, pulse 9 o cuelgue",
		thanks:  "Gracias",
		symbols: list("exclamación, almohadilla, dólar, por ciento, ampersand, asterisco, más, igual, interrogación, arroba"),
	},
	"fr": {
		voice:    "fr",
		intro:    "Votre code de vérification est",
		again:    "Je répète",
		repeat:   "Pour l'écouter à nouveau, appuyez sur 1",
		confirm:  "Pour écouter votre code, appuyez sur 1",
		capital:  "majuscule",
		asked:    "Vous avez une demande de vérification",
		approve:  "Pour l'approuver, appuyez sur 1",
		reject:   "Si ce n'était pas vous, appuyez sur 9 ou raccrochez",
		thanks:   "Merci",
		symbols:  list("point d'exclamation, dièse, dollar, pour cent, et commercial, astérisque, plus, égal, point d'interrogation, arobase"),
		as:       "comme",
		spelling: list("Anatole, Berthe, Célestin, Désiré, Eugène, François, Gaston, Henri, Irma, Joseph, Kléber, Louis, Marcel, Nicolas, Oscar, Pierre, Quintal, Raoul, Suzanne, Thérèse, Ursule, Victor, William, Xavier, Yvonne, Zoé"),
	},
	"hi": {
		voice:   "hi",
		intro:   "आपका सत्यापन कोड है",
		again:   "एक बार फिर",
		repeat:  "इसे फिर से सुनने के लिए 1 दबाएँ",
		confirm: "अपना कोड सुनने के लिए 1 दबाएँ",
		capital: "बड़ा",
		asked:   "आपके लिए एक सत्यापन अनुरोध है",
		approve: "इसे स्वीकार करने के लिए 1 दबाएँ",
		reject:  "यदि यह आपने नहीं किया, तो 9 दबाएँ या फ़ोन काट दें",
		thanks:  "धन्यवाद",
		symbols: list("विस्मयादिबोधक चिह्न, हैश, डॉलर, प्रतिशत, एम्परसेंड, तारा, प्लस, बराबर, प्रश्न चिह्न, ऐट"),
		english: true,
	},
	"id": {
		voice:   "id",
		intro:   "Kode verifikasi Anda adalah",
		again:   "Sekali lagi",
		repeat:  "Untuk mendengarnya lagi, tekan 1",
		confirm: "Untuk mendengar kode Anda, tekan 1",
		capital: "huruf besar",
		asked:   "Anda menerima permintaan verifikasi",
		approve: "Untuk menyetujuinya, tekan 1",
		reject:  "Jika ini bukan Anda, tekan 9 atau tutup telepon",
		thanks:  "Terima kasih",
		symbols: list("tanda seru, tanda pagar, dolar, persen, tanda dan, bintang, tambah, sama dengan, tanda tanya, et"),
	},
	"it": {
		voice:   "it",
		intro:   "Il suo codice di verifica è",
		again:   "Ripeto",
		repeat:  "Per ascoltarlo di nuovo, prema 1",
		confirm: "Per ascoltare il suo codice, prema 1",
		capital: "maiuscola",
		asked:   "Ha ricevuto una richiesta di verifica",
		approve: "Per approvarla, prema 1",
		reject:  "Se la richiesta non è sua, prema 9 o riagganci",
		thanks:  "Grazie",
		symbols: list("punto esclamativo, cancelletto, dollaro, percento, e commerciale, asterisco, più, uguale, punto interrogativo, chiocciola"),
	},
	"ja": { // in kana, because the voice can't read kanji
		voice:   "ja",
		intro:   "にんしょうコードは",
		again:   "くりかえします",
		repeat:  "もういちどきくには、いちをおしてください",
		confirm: "コードをきくには、いちをおしてください",
		capital: "おおもじ",
		asked:   "にんしょうリクエストがとどいています",
		approve: "しょうにんするには、いちをおしてください",
		reject:  "こころあたりがないばあいは、きゅうをおすか、でんわをおきりください",
		thanks:  "ありがとうございました",
		symbols: list("びっくりマーク, シャープ, ドル, パーセント, アンド, アスタリスク, プラス, イコール, はてなマーク, アットマーク"),
		digits:  list("ゼロ, いち, に, さん, よん, ご, ろく, なな, はち, きゅう"),
		letters: list("エー, ビー, シー, ディー, イー, エフ, ジー, エイチ, アイ, ジェー, ケー, エル, エム, エヌ, オー, ピー, キュー, アール, エス, ティー, ユー, ブイ, ダブリュー, エックス, ワイ, ゼット"),
	},
	"nl": {
		voice:   "nl",
		intro:   "Uw verificatiecode is",
		again:   "Nogmaals",
		repeat:  "Om hem opnieuw te horen, drukt u op 1",
		confirm: "Om uw code te horen, drukt u op 1",
		capital: "hoofdletter",
		asked:   "U hebt een verificatieverzoek",
		approve: "Om het goed te keuren, drukt u op 1",
		reject:  "Als u dit niet was, drukt u op 9 of hangt u op",
		thanks:  "Dank u wel",
		symbols: list("uitroepteken, hekje, dollar, procent, en-teken, sterretje, plus, is gelijk aan, vraagteken, apenstaartje"),
	},
	"pl": {
		voice:   "pl",
		intro:   "Twój kod weryfikacyjny to",
		again:   "Powtarzam",
		repeat:  "Aby usłyszeć go ponownie, naciśnij 1",
		confirm: "Aby usłyszeć swój kod, naciśnij 1",
		capital: "wielkie",
		asked:   "Masz prośbę o weryfikację",
		approve: "Aby ją zatwierdzić, naciśnij 1",
		reject:  "Jeśli to nie Ty, naciśnij 9 lub rozłącz się",
		thanks:  "Dziękuję",
		symbols: list("wykrzyknik, krzyżyk, dolar, procent, ampersand, gwiazdka, plus, równa się, znak zapytania, małpa"),
	},
	"pt": {
		voice:   "pt-br",
		intro:   "Seu código de verificação é",
		again:   "Repetindo",
		repeat:  "Para ouvir novamente, pressione 1",
		confirm: "Para ouvir seu código, pressione 1",
		capital: "maiúscula",
		asked:   "Você tem uma solicitação de verificação",
		approve: "Para aprovar, pressione 1",
		reject:  "Se não foi você, pressione 9 ou desligue",
		thanks:  "Obrigado",
		symbols: list("exclamação, cerquilha, cifrão, por cento, e comercial, asterisco, mais, igual, interrogação, arroba"),
	},
	"ru": {
		voice:   "ru",
		intro:   "Ваш код подтверждения",
		again:   "Повторяю",
		repeat:  "Чтобы услышать его ещё раз, нажмите 1",
		confirm: "Чтобы услышать код, нажмите 1",
		capital: "заглавная",
		asked:   "Вы получили запрос на подтверждение",
		approve: "Чтобы подтвердить его, нажмите 1",
		reject:  "Если это были не вы, нажмите 9 или повесьте трубку",
		thanks:  "Спасибо",
		symbols: list("восклицательный знак, решётка, доллар, процент, амперсанд, звёздочка, плюс, равно, вопросительный знак, собака"),
		letters: list("эй, би, си, ди, и, эф, джи, эйч, ай, джей, кей, эл, эм, эн, оу, пи, кью, ар, эс, ти, ю, ви, дабл-ю, экс, уай, зед"),
	},
	"tr": {
		voice:   "tr",
		intro:   "Doğrulama kodunuz",
		again:   "Tekrar ediyorum",
		repeat:  "Tekrar dinlemek için, bire basın",
		confirm: "Kodunuzu dinlemek için, bire basın",
		capital: "büyük",
		asked:   "Bir doğrulama isteğiniz var",
		approve: "Onaylamak için, bire basın",
		reject:  "Bu siz değilseniz, dokuza basın veya kapatın",
		thanks:  "Teşekkürler",
		symbols: list("ünlem işareti, kare, dolar, yüzde, ve işareti, yıldız, artı, eşittir, soru işareti, et işareti"),
	},
	"zh": { // written in Pinyin: espeak-ng 1.51 reads characters with a dictionary that Debian leaves out
		voice:   "cmn-latn-pinyin",
		intro:   "nin2 de5 yan4 zheng4 ma3 shi4",
		again:   "zai4 shuo1 yi1 bian4",
		repeat:  "yao4 zai4 ting1 yi1 bian4, qing3 an4 yi1",
		confirm: "yao4 ting1 yan4 zheng4 ma3, qing3 an4 yi1",
		capital: "da4 xie3",
		asked:   "nin2 you3 yi2 ge4 yan4 zheng4 qing3 qiu2",
		approve: "yao4 tong2 yi4, qing3 an4 yi1",
		reject:  "ru2 guo3 bu2 shi4 nin2 ben3 ren2, qing3 an4 jiu3 huo4 gua4 ji1",
		thanks:  "xie4 xie5",
		symbols: list("gan3 tan4 hao4, jing3 hao4, mei3 yuan2 fu2 hao4, bai3 fen1 hao4, he2 hao4, xing1 hao4, jia1 hao4, deng3 hao4, wen4 hao4, ai4 te4"),
		digits:  list("ling2, yi1, er4, san1, si4, wu3, liu4, qi1, ba1, jiu3"),
		english: true,
	},
}
