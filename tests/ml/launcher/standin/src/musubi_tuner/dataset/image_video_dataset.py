"""Where musubi-tuner lists its cache files, in the order of the folder."""


class Folder:
    """Replaces the module `glob`."""

    def glob(self, pathname: str) -> list[str]:
        return [pathname.replace("*", name) for name in ("b", "c", "a")]


glob = Folder()
