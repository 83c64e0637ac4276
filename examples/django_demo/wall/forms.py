from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.template.defaultfilters import filesizeformat
from PIL import Image

from wall import pictures


class UploadForm(forms.Form):
    picture = forms.FileField(
        label="Photo", widget=forms.FileInput(attrs={"accept": ",".join(pictures.ACCEPTED.values())})
    )
    author = forms.CharField(
        label="Your name",
        max_length=40,
        widget=forms.TextInput(attrs={"placeholder": "Your name", "autocomplete": "name"}),
    )
    caption = forms.CharField(
        label="Caption",
        max_length=120,
        required=False,
        widget=forms.TextInput(attrs={"placeholder": "A caption, if you like"}),
    )

    def clean_picture(self) -> Image.Image:
        file: UploadedFile = self.cleaned_data["picture"]
        if (file.size or 0) > settings.MAX_UPLOAD_BYTES:
            raise forms.ValidationError(
                f"That file is larger than {filesizeformat(settings.MAX_UPLOAD_BYTES)}."
            )
        try:
            return pictures.load(file)
        except pictures.NoPicture as error:
            raise forms.ValidationError(str(error)) from None
