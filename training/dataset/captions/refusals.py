"""Recognizes refusals, questions and thoughts that models write instead of a caption.

Nearly all patterns must match at the start of a text, because a real caption may contain such words
later.
"""
# ruff: noqa: E501, RUF001  # patterns in many scripts, on long lines

import re
from functools import cache
from typing import NamedTuple

_OBJECT = r"(?:image|picture|photo(?:graph)?|video|clip|file|attachment|screenshot)s?"
_ABOUT = (
    r"(?:assist|comply|fulfill?|support|access|view|process|analy[sz]|identif|discuss|describ|interpret|transcrib|caption (?:the|this)|"
    r"help (?:you )?(?:with|you)|help[.!]?$|do that|engage (?:in|with)|continue with|(?:answer|respond to) (?:that|this|the|your)|"
    r"(?:provid|creat|generat|writ|produc|offer|giv|see|open|load|determin)\w* (?:\w+ ){0,4}?(?:caption|description|"
    r"content|information|response|assistance|help|support|details|" + _OBJECT + r"))"
)
_CANNOT = (
    r"(?:(?:can['’]?t|can ?not|could(?:n['’]t| not)|won['’]t|will not|do(?:n['’]t| not)|must not|should(?:n['’]t| not)) (?:be able to |actually |directly |really )*|"
    r"(?:(?:['’]d|would) rather|prefer) not (?:to )?|"
    r"(?:am|['’]m|are|['’]re|was) (?:currently |also |simply |still |just )?(?:unable to|not (?:able|allowed|permitted|programmed|designed|capable|authori[sz]ed|trained|equipped|going|"
    r"comfortable)(?: to| of| with| in)?) (?:be able to |provide |offer )?)"
)
# Words of apology or agreement that can stand before the refusal itself.
_OPENING = re.compile(
    r"(?i)(?:(?:hello|hi|hey|sure|certainly|absolutely|of course|thank you|thanks|unfortunately|however|okay|ok|oops|hmm+|"
    r"(?:my )?apologies|(?:I(?:['’]m| am) |we(?:['’]re| are) )?(?:so |very |really |truly )?sorry|I (?:do )?apologi[sz]e)\b"
    r"[^,.!:;?…—\n-]{0,40}[,.!:;…—-]+\s*(?:but |and |so )?)+"
)
_ENGLISH = tuple(
    re.compile(f"(?i){pattern}")
    for pattern in (
        # After words of regret, any verb makes the text a refusal.
        r"(?:I['’ ]?a?m |we['’ ]?a?re )?(?:so |very |truly |really )?sorry\b[,.!]? *(?:but )?(?:(?:I|we) ?)?(?:can|could|am |are |['’]m |won['’]t|will |do(?:n['’]t| not)|unable|not )",
        r"I (?:do )?apologi[sz]e\b[^.]{0,60}(?:can|could|am |['’]m |won['’]t|will |do(?:n['’]t| not)|unable)",
        rf"[^\n]{{0,80}}?\b(?:I ?|we ){_CANNOT}{_ABOUT}",
        rf"(?:unable to|not able to|can(?:['’]t|not)|could(?:n['’]t| not)|it(?:['’]s| is) not possible (?:for me )?to) {_ABOUT}",
        r"(?:that|this)(?:['’]s| is) not something (?:that )?I\b",
        r"I (?:do not|don['’]t) know who (?:that|this|the)\b",
        r"(?:what )?would you like me to\b|(?:can|could) you (?:please )?(?:provide|give|share)(?: me)? (?:more|some|additional)\b",
        r"let['’]s (?:talk about something|change the (?:topic|subject)|keep (?:this|the|our) conversation)",
        r"I (?:(?:must|have to|need to|will|would|am going to have to) )?(?:respectfully |politely )?decline\b",
        r"I (?:do not|don['’]t) have (?:the |any )?(?:ability|capability|capacity|access|permission|visual|enough (?:information|context))",
        r"(?:this|it|that)(?:['’]s| is| would be| goes) (?:(?:not |in)appropriate (?:for me|to)|against (?:my|our))",
        r"as an? (?:\w+[ -]){0,2}(?:AI|artificial intelligence|(?:large |multimodal |vision )*language model)"
        r"(?:,| (?:language|vision|visual|text|assistant|model|system|developed|created|trained|I)\b)",
        r"[^.\n]{0,40}?\bI(?:['’]m| am) (?:just |only |merely )?an? (?:[\w-]+ ){0,2}(?:AI|artificial intelligence|language model|chatbot|(?:text|vision)-based model)\b",
        r"I(?:['’]m| am) (?:designed|programmed|trained|instructed) (?:not )?to\b",
        r"(?:there (?:is|was)|I see|you have(?:n['’]t| not)?|it (?:seems|looks like|appears)\b[^.]{0,40})"
        rf"[^.]{{0,30}}(?:\b(?:no|not)\b|n['’]t)[^.]{{0,20}}{_OBJECT}\b[^.]{{0,30}}(?:attached|provided|uploaded|shared|included)",
        r"[^.,]{0,30}\byou have(?:n['’]t| not) (?:attached|provided|uploaded|shared|included)",
        rf"no {_OBJECT} (?:was |is |has been )?(?:attached|provided|uploaded|found)\b",
        rf"(?:please|(?:could|can|would|will) you(?: please)?) (?:provide|upload|attach|share|send|describe|re-?upload|clarify)(?: me)? (?:the|an?|your|it|more)\b[^.]{{0,40}}(?:{_OBJECT}|description|details)",
        r"I(?:['’]d| would|['’]ll| will) (?:be (?:happy|glad)|love|like) to (?:help|assist|describe)\b",
        r"how (?:can|may) I (?:help|assist)(?: you)?(?: today| with (?:this|the|your)\b.{0,40})?[?.! ]*$",
        rf"(?:this|the|your) (?:\w+ )?(?:content|{_OBJECT}|prompt|request)\b[^.]{{0,40}}(?:violat|flagged|blocked|against|not (?:be )?allowed|"
        r"can(?:not|['’]t) be (?:described|processed|displayed|shown|captioned))",
        r"content_policy_violation|blocked by (?:the )?(?:content|safety)",
        # Thoughts that reasoning models write before their answer.
        r"(?:okay|ok|alright|got it|so|hmm+|first|well)?,? ?(?:so )?(?:the user (?:wants|asks|needs|asked|(?:is|has been) asking|has asked|requested) (?:me|for|us|to)\b"
        r"|the user (?:has )?(?:provided|uploaded|shared|sent|attached|given)\b|let(?:['’]s| me) (?:see|look|start|analy[sz]e|break|describe|tackle|think|examine)\b[^.]{0,60}(?:image|picture|photo|video|caption|user|scene|description|[.]))",
        # The user's instruction, which the model repeats.
        rf"(?:please )?(?:write|describe|generate|provide|create|caption) (?:me )?(?:an?|the|this|these|some)\b (?:\w+[ -]){{0,6}}?(?:caption|description|prompt|tags|{_OBJECT})\b(?! (?:of|game|call))",
    )
)


class _Language(NamedTuple):
    """Patterns for refusals in one language.

    Attributes:
        sorry: Words of regret, such as "sorry".
        cannot: Phrases of inability, such as "I cannot" or "it is not possible".
        work: Words for the request, such as "describe" or "image".
        subject: How a refusal without words of regret begins; "" if it begins with `cannot`.
    """

    sorry: str
    cannot: str
    work: str
    subject: str = ""


_LANGUAGES = (
    _Language(  # German
        r"(?:es )?tut (?:mir|uns)|entschuldig|leider|verzeih|sorry|ich bedau",
        r"(?:(?:ich|wir) (?:kann|können|darf|konnte|bin|habe)|(?:kann|darf|bin) ich)\b.{0,60}?(?:nicht|kein)|nicht (?:in der lage|möglich)",
        r"beschreib|helfen|erfüll|beantwort|generier|erstell|verarbeit|unterstütz|identifizier|bild|anfrage|bitte",
    ),
    _Language(  # French
        r"(?:je (?:suis|m['’]) ?)?(?:vraiment |sincèrement )?(?:désolé|navré|pardon|excus)|malheureusement|je regrette",
        r"je (?:ne |n['’])(?:peux|puis|suis|pourrai|parviens|dispose)",
        r"décri|aid|assist|répond|identifi|génér|fourni|trait|image|demande",
    ),
    _Language(  # Spanish
        r"lo (?:siento|lamento)|disculp|perdón|lamentablemente|desafortunadamente",
        r"no (?:puedo|podemos|es posible|me es posible|soy capaz|estoy)",
        r"ayud|describ|asist|respond|identific|gener|proporcion|proces|imagen|solicitud",
    ),
    _Language(  # Portuguese
        r"(?:me )?desculp|sinto muito|lamento|infelizmente",
        r"não (?:posso|consigo|podemos|é possível|sou capaz|estou)",
        r"ajud|descrev|assist|respond|identific|gerar|fornec|process|imagem|pedido|solicita",
    ),
    _Language(  # Italian
        r"mi dispiace|scusa|spiacente|purtroppo",
        r"non (?:posso|possiamo|sono|è possibile|riesco)",
        r"aiut|descriv|assist|rispond|identific|gener|forn|elabor|immagin|richiesta",
    ),
    _Language(  # Dutch
        r"(?:het )?spijt|sorry|helaas|excus",
        r"(?:ik (?:kan|ben|mag)|kan ik)\b.{0,60}?(?:niet|geen)",
        r"beschrij|help|assist|beantwoord|afbeelding|verzoek|voldoen|identific",
    ),
    _Language(  # Swedish, Danish, Norwegian
        r"tyvärr|förlåt|(?:jag är )?ledsen|beklag|ursäkta|desværre|dessverre|und?skyld|unnskyld",
        r"(?:(?:jag|jeg) (?:kan|har|är|er)|kan (?:jag|jeg))\b.{0,40}?(?:inte|ej|ikke)",
        r"beskriv|hjälp|hjelp|hjælp|bild|billed|begäran|forespørsel|anmodning",
    ),
    _Language(
        r"valitettavasti|pahoittel|anteeksi|olen pahoillani",
        r"en (?:voi|pysty)",
        r"kuvail|autta|kuva|pyyn",
    ),
    _Language(  # Polish
        r"przepraszam|przykro mi|niestety",
        r"nie (?:mogę|możemy|jestem)",
        r"opis|pom[óo]c|obraz|zdję|prośb|wygener",
    ),
    _Language(  # Czech, Slovak
        r"omlouvám|je mi líto|bohužel|promiňte|prepáč|ospravedl|žiaľ",
        r"ne(?:mohu|můžu|môžem|dokážu|dokážem)|nejsem schop",
        r"popsat|opísať|pomoci|pomôcť|obráz|požadav|požiad",
    ),
    _Language(  # Russian
        r"извини|простите|к сожалению|прошу прощения|сожале|приношу",
        r"(?:я )?не (?:могу|можем|в состоянии|имею|умею)|невозможно",
        r"описа|помо[гч]|изображ|фото|запрос|ответ|созда|предостав|видео|обработ",
    ),
    _Language(
        r"вибач|перепрош|на жаль|пробач",
        r"(?:я )?не (?:можу|в змозі)",
        r"опис|допомог|зображ|запит",
    ),
    _Language(  # Turkish
        r"üzgünüm|maalesef|özür|kusura",
        r"\w(?:am[ıa]|em[ie])(?:m|yorum)\b|mümkün değil",
        r"tanımla|açıkla|yardım|istek|isteğ|betim",
        r"(?:bu|verilen) (?:görsel|görüntü|resm|istek|isteğ)",
    ),
    _Language(
        r"(?:îmi|ne) pare rău|scuze|din păcate|regret",
        r"nu (?:pot|putem|sunt)",
        r"descri|ajut|imagin|cerer|solicit",
    ),
    _Language(
        r"sajnál|elnézést|sajnos|bocsánat",
        r"nem (?:tudom|tudok|áll|lehet)",
        r"leír|segít|kép|kérés",
    ),
    _Language(
        r"λυπάμαι|συγγνώμη|δυστυχώς|λυπούμ",
        r"δεν (?:μπορώ|είμαι)|αδυνατώ",
        r"περιγρ|βοηθ|εικόν|αίτη",
    ),
    _Language(
        r"(?:tôi )?(?:rất )?(?:xin lỗi|tiếc)",
        r"(?:tôi |mình )?không thể",
        r"mô tả|giúp|hỗ trợ|ảnh|yêu cầu",
    ),
    _Language(  # Indonesian, Malay
        r"(?:mohon )?maaf|sayangnya",
        r"(?:saya|kami) (?:tidak|tak) (?:dapat|bisa|mampu|boleh)|tidak (?:dapat|bisa)",
        r"bantu|deskripsi|jelas|gambar|permintaan|memproses|menggambar",
    ),
    _Language(
        r"عذر|آسف|أعتذر|للأسف|معذرة|اعتذر",
        r"لا (?:أستطيع|يمكنني|أقدر)|لن أ|غير قادر|لست",
        r"وصف|مساعد|صور|طلب",
    ),
    _Language(
        r"(?:אני )?(?:מצטער|סליחה|לצערי)",
        r"(?:אני )?(?:איני|אינני|לא) יכול",
        r"לתאר|לעזור|תמונ|בקש",
    ),
    _Language(r"ขออภัย|ขอโทษ|เสียใจ", r"(?:ฉัน|ผม|ดิฉัน)?ไม่สามารถ", r"อธิบาย|ช่วย|ภาพ|คำขอ"),
    _Language(
        r"क्षमा|माफ़|माफ|खेद|मुझे खेद", r"नहीं (?:कर |दे |बता )?सकत|असमर्थ", r"वर्णन|मदद|छवि|सहायता|चित्र"
    ),
    _Language(  # Chinese
        r"(?:很|非常|十分|真的)?(?:抱歉|对不起|對不起|不好意思|遗憾|遺憾|您好|你好)",
        r"(?:我|我们|我們|本AI)?(?:还|還|暂时|暫時|目前|现在|直接)*(?:无法|無法|不能|没有|沒有|没法|未能|不便|不支持|不会)(?:为您|为你|为|給您|给|直接|对|對)*",
        r"(?:查看|看到|识别|識別|描述|处理|處理|提供|回答|满足|滿足|协助|協助|帮|幫|给到|生成|访问|学会|解析|分析|理解|打开|接收)",
    ),
    _Language(  # Japanese
        r"申し訳|すみません|すいません|ごめんなさい|恐れ入り|恐縮|残念ながら",
        r"(?:でき|出来|かね|られ)(?:ません|ない|ます)",
        r"説明|描写|処理|生成|提供|表示|確認|分析|対応|手伝|答え",
        r"(?:この|その|ご|お)?(?:画像|写真|動画|リクエスト|内容|質問)(?:を|は|の)",
    ),
    _Language(  # Korean
        r"죄송|미안|유감|안타깝",
        r"수 없|못합|못해",
        r"설명|도와|도움|처리|생성|답변|제공|볼 수|분석|확인",
        r"(?:이 |해당 |제공된 |업로드된 |요청하신 )?(?:이미지|사진|영상|동영상|요청)(?:를|을|은|는)",
    ),
)
_FIRST_SENTENCE = re.compile(r"[^.!?。！？\n]{0,160}")
_NEAR = 60  # "I cannot" must follow "sorry" within this many characters
_ASSISTANT = re.compile(
    r"(?i)(?:作为|作為|我是)一?(?:个|個|名|款)?(?:人工智能|人工智慧|AI|语言模型|大语言模型)"
    r"|(?:AI|人工知能|言語モデル)(?:として|なので)|저는 (?:AI|인공지능)"
    r"|als (?:KI|künstliche|Sprachmodell)\b|en tant qu['’](?:IA|intelligence|assistant)"
    r"|como (?:una? )?(?:IA|inteligencia|inteligência|modelo de)\b|in quanto (?:IA|intelligenza|modello)"
    r"|как (?:искусственный|языковая|ИИ)\b|jako (?:AI|sztuczna|model językowy)\b|bir yapay zeka olarak"
    r"|(?:好的|嗯)[，,].{0,12}(?:用户|我需要|我来)|用户(?:要求|希望|想要|让我)"
)  # fmt: skip

_LABEL = r"(?:caption|description|prompt|tags|summary)"
_INTRODUCTION = re.compile(
    rf"(?i)(?:(?:sure|certainly|of course|absolutely|okay|ok|great|got it)\b[^.!:,\n]{{0,20}}[,.!:]+\s*)?"
    rf"(?:(?:here(?:['’]s| is| are)|below is|(?:this|the following) is)\b[^.:\n]{{0,80}}\b{_LABEL}\b[^.:\n]{{0,60}}:"
    rf"|\W{{0,4}}(?:(?:image|picture|photo|video|detailed|short|long|final|generated|suggested) )?{_LABEL}\W{{0,3}}:)"
    r"|(?:好的|当然)[，,！!].{0,30}(?:描述|标题|提示词).{0,10}[:：]|(?:hier ist|voici|aquí (?:está|tienes)|ecco)\b[^.:\n]{0,80}:"
)
_FAREWELL = re.compile(
    r"(?i)(?:let me know if|feel free to (?:ask|let)|(?:I )?hope this helps|is there anything else|if you (?:need|have|want|would like) any)"
    r"[^\n]{0,160}$"
)


def has_chat(text: str) -> bool:
    """Whether a text begins like "Here is a caption:", or ends like "Let me know if ..."."""
    return _INTRODUCTION.match(text) is not None or _FAREWELL.search(text) is not None


def is_refusal(text: str) -> bool:
    """Whether a text begins with a refusal, question or thought of a captioning model."""
    bare = text[match.end() :] if (match := _OPENING.match(text)) else text
    return (
        any(pattern.match(one) for one in {text, bare} for pattern in _ENGLISH)
        or any(_refuses(text, language) for language in _LANGUAGES)
        or _ASSISTANT.match(text) is not None
    )


def _refuses(text: str, language: _Language) -> bool:
    """Whether a text begins like "sorry, I cannot", or like "I cannot describe the image"."""
    if (sorry := _compiled(language.sorry).match(text)) is not None:
        near = text[sorry.end() : sorry.end() + _NEAR]
        return _compiled(language.cannot).search(near) is not None
    sentence = _FIRST_SENTENCE.match(text)
    said = sentence.group() if sentence else ""
    begins = _compiled(language.subject or language.cannot).match(said)
    return begins is not None and all(
        _compiled(pattern).search(said) for pattern in (language.cannot, language.work)
    )


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)
