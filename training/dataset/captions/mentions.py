"""Finds what captions never mention, such as the camera or the light.

Only English, Chinese and Japanese captions are understood. The lists are generous: a kind counts as
mentioned even if a word only may belong to it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_HAN = re.compile("[\u4e00-\u9fff]")
# Common in English, rare in other languages with Latin letters.
_ENGLISH = re.compile(r"\b(?:the|with|and|of|from|his|behind|while|into)\b", re.IGNORECASE)
_UNDERSTOOD = 0.8  # of the captions must be in a language that is understood


@dataclass(frozen=True, slots=True)
class Mention:
    """A kind of thing that captions can mention.

    Attributes:
        title: Its name and examples, for users.
        of_clips: Whether only the captions of clips should mention it.
        english: Words, or beginnings of words that end in `*`.
        signs: Chinese and Japanese words.
    """

    title: str
    english: str
    signs: str
    of_clips: bool = False

    @property
    def pattern(self) -> re.Pattern[str]:
        words = (re.escape(word).replace(r"\*", r"\w*") for word in self.english.split())
        signs = (re.escape(sign) for sign in self.signs.split())
        return re.compile(rf"\b(?:{'|'.join(words)})\b|{'|'.join(signs)}", re.IGNORECASE)


MENTIONS = (
    Mention(
        "the camera (such as close-up, low angle, slow pan)",
        "camera* shot* close close-up* closeup* wide* angle* zoom* pan pans panning tilt* "
        "view* lens portrait* frame* framing full-body half-body waist-up medium track* dolly "
        "handheld static focus* bokeh overhead aerial drone profile front side behind below "
        "above macro selfie pov perspective",
        "镜头 特写 近景 远景 中景 全景 全身 半身 侧面 正面 背面 俯 仰 视角 角度 拍 焦 推 拉 "
        "摇 カメラ アップ アングル 接写 視点 横顔 構図 ショット 撮 ズーム パン 引き 寄り",
    ),
    Mention(
        "the light (such as soft daylight, neon at night)",
        "light* lit sun* shadow* bright* dark* dim* night* dusk dawn day daylight daytime "
        "morning noon afternoon evening neon lamp* glow* golden backlit candle* moon* shad* "
        "overcast cloud* silhouette* contrast* gloom* shin* shimmer* flash* lantern* fire* "
        "star*",
        "光 阳 陽 日 夜 影 暗 亮 明 灯 晚 晨 黄昏 朝 夕 曇 阴 月 逆 晴",
    ),
    Mention(
        "the place (such as a kitchen, a street in the rain)",
        "in inside outside indoor* outdoor* at on near street* room* kitchen* office* beach* "
        "forest* park* city garden* house* home wall* field* sea* ocean lake river mountain* "
        "road* cafe* bar studio* desert snow* water* sky stage window* bed* sofa* grass "
        "table* behind against under between background* across through",
        "在 里 里面 室 街 路 海 山 森 林 园 園 房 屋 家 店 馆 館 站 駅 校 城 村 河 湖 桥 橋 "
        "墙 壁 窗 窓 背景 で に",
    ),
    Mention(
        "movement (such as walks slowly, turns the head)",
        "*ing walk* run* turn* mov* motion* jump* danc* spin* look* rais* lift* smil* talk* "
        "speak* wav* nod* sit sits stand* lean* bend* swing* fall* fly flies float* sway* "
        "roll* slid* step* reach* grab* hold* throw* catch* open* clos* blink* laugh* rotat* "
        "still slow* fast",
        "走 跑 转 動 动 跳 舞 看 笑 说 話 站 坐 挥 振 抬 伸 飞 飛 落 歩 回 開 开 閉 关 立 座 "
        "向 静 摇 揺 て",
        of_clips=True,
    ),
)


def is_understood(captions: Sequence[str]) -> bool:
    """Whether nearly all captions are in English, Chinese or Japanese."""
    known = sum(bool(_HAN.search(text) or _ENGLISH.search(text)) for text in captions)
    return known >= _UNDERSTOOD * len(captions)


def unmentioned(captions: Sequence[str], of_clips: Sequence[str], fewest: int) -> list[str]:
    """Return the titles of what no caption mentions.

    Args:
        captions: All captions.
        of_clips: Those of clips.
        fewest: Fewer captions are not judged.
    """
    missing: list[str] = []
    for mention in MENTIONS:
        judged = of_clips if mention.of_clips else captions
        if len(judged) < fewest or not is_understood(judged):
            continue
        if not any(mention.pattern.search(caption) for caption in judged):
            missing.append(mention.title)
    return missing
